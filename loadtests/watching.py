"""What the service says of itself while it is under load: /metrics and /proc, once a second."""

from __future__ import annotations

import http.client
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from time import monotonic

from prometheus_client.parser import text_string_to_metric_families

from loadtests.generator.connections import Address
from loadtests.processes import tree_cpu_seconds
from loadtests.requests import fields_of
from loadtests.result import Service

_PATIENCE = 0.9

# Parts of the service by name, and the processes at the root of each part: those that they have
# started belong to it.
Parts = Mapping[str, Sequence[int]]


class Scrape:
    """The numbers of one scrape, summed over workers, or the highest of them."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def sum(self, name: str, **labels: str) -> float | None:
        """The sum of all with these labels; None when there is none."""
        found = self._having(name, labels)
        return sum(found) if found else None

    def most(self, name: str) -> float | None:
        """The highest; None when there is none."""
        return max(self._having(name, {}), default=None)

    def buckets(self, name: str) -> dict[float, float]:
        """A histogram's cumulative counts by the upper end of each bucket."""
        counts: dict[float, float] = defaultdict(float)
        for labels, value in self._samples.get(f"{name}_bucket", ()):
            counts[float(labels["le"])] += value
        return counts

    def _having(self, name: str, labels: Mapping[str, str]) -> list[float]:
        return [
            value
            for found, value in self._samples.get(name, ())
            if all(found.get(key) == wanted for key, wanted in labels.items())
        ]


def quantile(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float:
    """The upper end of the bucket that holds a quantile of what came between two scrapes."""
    counts = sorted((end, after[end] - before.get(end, 0.0)) for end in after)
    if not counts or counts[-1][1] <= 0:
        return 0.0
    wanted = share * counts[-1][1]
    finite = [end for end, _ in counts if end != float("inf")]
    return next((end for end, count in counts if count >= wanted and end in finite), finite[-1])


class Watch:
    """Scrapes in a thread of its own from ``origin`` on; ``with Watch(...) as watch``.

    ``headers`` end with a line end each (a key).
    """

    def __init__(
        self, address: Address, origin: float, parts: Callable[[], Parts], headers: str = ""
    ) -> None:
        self._headers = fields_of(headers)
        self.seconds: dict[int, Service] = {}
        self._address = address
        self._origin = origin
        self._parts = parts
        self._ended = Event()
        self._before: Scrape | None = None
        self._cpu: dict[str, float] = {}
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        second = -1
        while not self._ended.wait(max(0.0, self._origin + second + 1 - monotonic())):
            service = Service()
            self._count_cpu(service)
            self._scrape(service)
            if second >= 0:
                self.seconds[second] = service
            second = max(second + 1, int(monotonic() - self._origin))

    def _count_cpu(self, service: Service) -> None:
        now = {part: sum(map(tree_cpu_seconds, pids)) for part, pids in self._parts().items()}
        if self._cpu:
            # A process that has ended takes what it used with it, until its parent has waited.
            service.cpu = {
                part: max(0.0, used - self._cpu.get(part, used)) for part, used in now.items()
            }
        self._cpu = now

    def _scrape(self, service: Service) -> None:
        now = self._get()
        if now is None:
            return
        before = self._before
        self._before = now
        service.resident_bytes = int(now.sum("process_resident_memory_bytes") or 0)
        service.waiting_keys = now.sum("verifier_loader_waiting_keys")
        service.connections = now.sum("verifier_connections")
        service.replica_lag_seconds = now.most("verifier_replica_lag_seconds")
        if before is None:
            return

        def grown(name: str, **labels: str) -> float | None:
            new, old = now.sum(name, **labels), before.sum(name, **labels)
            return None if new is None else new - (old or 0.0)

        service.cache_hits = grown("verifier_cache_lookups_total", outcome="hit")
        service.cache_misses = grown("verifier_cache_lookups_total", outcome="miss")
        service.queries = grown("verifier_query_keys_count")
        service.query_keys = grown("verifier_query_keys_sum")
        service.suspicions = grown("verifier_suspicions_total")
        lag = "verifier_event_loop_lag_seconds"
        service.loop_lag_p99 = quantile(before.buckets(lag), now.buckets(lag), 0.99)

    def _get(self) -> Scrape | None:
        connection = http.client.HTTPConnection(*self._address, timeout=_PATIENCE)
        try:
            connection.request("GET", "/metrics", headers=self._headers)
            response = connection.getresponse()
            text = response.read().decode()
            return Scrape(text) if response.status == 200 else None
        # ValueError: what is no Prometheus text.
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


def summed_up(seconds: Sequence[Service]) -> dict[str, float]:
    """What the service said in a stage: CPU as cores, rates a second, the highest of lags."""
    if not seconds:
        return {}
    count = len(seconds)
    summary: dict[str, float] = {}
    for part in sorted({part for second in seconds for part in second.cpu}):
        summary[f"cpu_{part}"] = sum(second.cpu.get(part, 0.0) for second in seconds) / count
    hits = sum(second.cache_hits or 0.0 for second in seconds)
    misses = sum(second.cache_misses or 0.0 for second in seconds)
    if hits + misses:
        summary["cache_hit_ratio"] = hits / (hits + misses)
    queries = sum(second.queries or 0.0 for second in seconds)
    if queries:
        summary["queries"] = queries / count
        summary["keys_a_query"] = sum(second.query_keys or 0.0 for second in seconds) / queries
    for name in ("waiting_keys", "connections", "replica_lag_seconds", "loop_lag_p99"):
        known = [value for second in seconds if (value := getattr(second, name)) is not None]
        if known:
            summary[f"{name}_max"] = max(known)
    resident = [second.resident_bytes for second in seconds if second.resident_bytes]
    if resident:
        summary["resident_bytes_max"] = max(resident)
    return summary
