"""Every counter, gauge, histogram and label that the service has, in one list.

What is counted for each answer is a plain integer (``Tally``) that the scrape reads: adding to
a prometheus-client counter takes a lock and costs ten times as much. One process, one registry;
never prometheus-client's multiprocess mode.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Cell:
    """One integer of a Tally; ``cell.count += 1`` is all that a hot path does."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Tally(Collector):
    """A counter with labels whose children are plain integers, for one event loop."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]
    ) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._cells: dict[tuple[str, ...], Cell] = {}
        registry.register(self)

    def cell(self, *labels: str) -> Cell:
        """The child of these label values, made at its first use."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = Cell()
        return cell

    def add(self, *labels: str, count: int = 1) -> None:
        """Add to the child of these label values."""
        self.cell(*labels).count += count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Called by a scrape."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, cell in self._cells.items():
            family.add_metric(labels, cell.count)
        yield family


class Metrics:
    """The metrics of one process. Names follow the Prometheus conventions (base units)."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.answers = Tally(
            registry,
            "verifier_answers",
            "Answers by endpoint (verify, batch, stream) and verdict.",
            ("endpoint", "verdict"),
        )
        self.sources = Tally(
            registry,
            "verifier_answer_sources",
            "Answers that rest on a reading of the ledger, by where the caller got it.",
            ("source",),
        )
        self.unavailable = Tally(
            registry, "verifier_unavailable", "Questions that could not be checked.", ("reason",)
        )
        self.http_errors = Tally(
            registry, "verifier_http_errors", "Requests refused as a whole.", ("route", "code")
        )
        self.ledger_lines = Tally(
            registry,
            "verifier_ledger_lines",
            "Lines fed to the ledger by outcome.",
            ("feed", "outcome"),
        )
        self.cache_lookups = Tally(
            registry, "verifier_cache_lookups", "Look-ups in memory.", ("outcome",)
        )
        self.changes = Tally(
            registry,
            "verifier_changes",
            "Keys that change feeds named (heard), entries dropped for them, and findings that "
            "were not kept because their key had changed during the read (refill_refused).",
            ("outcome",),
        )
        self.cache_entries = Gauge(
            "verifier_cache_entries", "Entries in memory.", ("kind",), registry=registry
        )
        self.loader_waiting = Gauge(
            "verifier_loader_waiting_keys",
            "Identities that wait for a connection.",
            ("class",),
            registry=registry,
        )
        self.loader_reading = Gauge(
            "verifier_loader_running_queries", "Look-up queries running.", registry=registry
        )
        self.query_keys = Histogram(
            "verifier_query_keys",
            "Identities per look-up query.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=registry,
        )
        self.query_seconds = Histogram(
            "verifier_query_seconds",
            "Duration of look-up queries.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=registry,
        )
        self.rechecks = Tally(
            registry,
            "verifier_absence_rechecks",
            "Identities absent on a replica: found or absent on the primary, the replica's "
            "word stood (trusted), or could not be checked.",
            ("outcome",),
        )
        self.trusted = Gauge(
            "verifier_ledger_trusted",
            "1 when some database shows a state within the staleness bound, else 0.",
            registry=registry,
        )
        self.target_serving = Gauge(
            "verifier_database_serving",
            "1 when a database takes look-ups, else 0.",
            ("target", "role"),
            registry=registry,
        )
        self.target_lag_bytes = Gauge(
            "verifier_replica_lag_bytes", "WAL not replayed.", ("target",), registry=registry
        )
        self.target_lag_seconds = Gauge(
            "verifier_replica_lag_seconds",
            "Age of the state shown.",
            ("target",),
            registry=registry,
        )
        self.open_transaction_seconds = Gauge(
            "verifier_open_transaction_seconds",
            "For how long some transaction of the cluster has been open, as a database's change "
            "log shows it; while it is, nothing is pruned.",
            ("target",),
            registry=registry,
        )
        self.loop_lag = Histogram(
            "verifier_event_loop_lag_seconds",
            "How late the event loop runs a timer.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
            registry=registry,
        )
        self.in_progress = Gauge(
            "verifier_requests_in_progress",
            "Batches, streams and feeds under way.",
            ("endpoint",),
            registry=registry,
        )

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)
