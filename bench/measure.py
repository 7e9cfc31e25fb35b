"""How each side of a figure is measured, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from time import perf_counter

import msgspec

from bench import agreement, load
from bench.client import ask_all, post, stream
from bench.programs import Programs, Sample
from bench.rig import COLD, HOT, Rig
from loadtests import processes
from loadtests.processes import RigError, Server, cpu_seconds

BATCH = 1_000
AGREEMENT = 10_000
# Of the capacity of the peer without batching: where its queue begins to matter.
OFFERED = 0.7


class Measures:
    """Every measurement by name; each may be taken any number of times.

    Raises RigError when something does not work, and Void when a run does not count.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.programs = Programs(rig)
        self._pool_rate = 0.0
        self.by_name: dict[str, Callable[[], Sample]] = {
            "single cached": lambda: self._single(self._cached, self._hot),
            "single bare": lambda: self._single(self._bare, self._hot),
            "single uncached": lambda: self._single(self._uncached, self._cold),
            "single pool": self._pool_single,
            "single fastapi": lambda: self._single(self._fastapi, self._cold),
            "single go": lambda: self._single(self._go, self._cold),
            "p99 uncached": lambda: self._latency(self._uncached),
            "p99 pool": lambda: self._latency(self._pool),
            "batch cached": lambda: self._batch(self._cached, self._hot_batches, 2),
            "codec": self._codec,
            "batch uncached": lambda: self._batch(self._uncached, self._cold_batches, 3),
            "raw": self.programs.raw,
            "stream": self._stream,
            "stream growth": self._growth,
            "import": self.programs.load,
            "copy": self.programs.copy,
            "memory": self.programs.memory,
            "start": self.programs.start,
            "imports": self.programs.imports,
        }
        # What bench.profile looks at: the server that a measurement loads.
        self.paths: dict[str, Callable[[], Server]] = {
            "single cached": lambda: self._cached,
            "single uncached": lambda: self._uncached,
            "batch cached": lambda: self._cached,
            "batch uncached": lambda: self._uncached,
        }
        self._grown = 0.0

    def agree(self, names: set[str]) -> None:
        """Have the servers of these measurements answer the same questions, and warm them up."""
        servers = {"service": self._uncached}
        if {"single pool", "p99 pool"} & names:
            servers["pool"] = self._pool
        if "single fastapi" in names:
            servers["fastapi"] = self._fastapi
        if {"single cached", "batch cached", "stream"} & names:
            servers["cached service"] = self._cached
        agreed(servers, self.rig.mixed(AGREEMENT))
        if "single go" in names:
            pair = {"service": self._uncached, "go": self._go}
            agreed(pair, agreement.canonical(self._cold_bodies[:AGREEMENT]))

    # What is asked

    @cached_property
    def _hot_bodies(self) -> list[bytes]:
        return [msgspec.json.encode(each) for each in self.rig.questions(2, HOT)]

    @cached_property
    def _hot(self) -> Path:
        return self.rig.file("hot.ndjson", self._hot_bodies)

    @cached_property
    def _cold_bodies(self) -> list[bytes]:
        return [msgspec.json.encode(each) for each in self.rig.questions(3, COLD)]

    @cached_property
    def _cold(self) -> Path:
        return self.rig.file("cold.ndjson", self._cold_bodies)

    @cached_property
    def _hot_batches(self) -> list[bytes]:
        return batches(self._hot_bodies)

    @cached_property
    def _cold_batches(self) -> list[bytes]:
        return batches(self._cold_bodies)

    # Who is asked

    @cached_property
    def _warmed(self) -> tuple[Server, int]:
        """The service with all hot invoices in memory, and the average length of its answers."""
        server = self.rig.cached()
        requests = [post("/v1/verify", body) for body in self._hot_bodies]
        answers = ask_all(server.address, requests)
        return server, sum(len(body) for _, body in answers) // len(answers)

    @property
    def _cached(self) -> Server:
        return self._warmed[0]

    @cached_property
    def _bare(self) -> Server:
        return self.rig.peer("bare", str(self._warmed[1]))

    @cached_property
    def _uncached(self) -> Server:
        return self.rig.uncached()

    @cached_property
    def _pool(self) -> Server:
        return self.rig.peer("pool")

    @cached_property
    def _fastapi(self) -> Server:
        return self.rig.peer("fastapi_app")

    @cached_property
    def _go(self) -> Server:
        return self.rig.peer("golang")

    # Single questions

    def _single(self, server: Server, questions: Path) -> Sample:
        rig = self.rig
        used, others, begin = (
            cpu_seconds(server.pid),
            processes.busy_seconds(rig.core),
            perf_counter(),
        )
        got = saturated(rig, server, questions)
        used = cpu_seconds(server.pid) - used
        others = processes.busy_seconds(rig.core) - others - used
        taken = perf_counter() - begin
        return Sample(
            got.rate,
            f"{got.rate:,.0f}/s at {used / got.answers * 1e6:.0f} µs of CPU"
            + _disturbed(others / taken),
            used / got.answers,
        )

    def _pool_single(self) -> Sample:
        sample = self._single(self._pool, self._cold)
        self._pool_rate = sample.value
        return sample

    def _latency(self, server: Server) -> Sample:
        if not self._pool_rate:
            self._pool_single()
        rig = self.rig
        rate = OFFERED * self._pool_rate
        start = rig.random.randrange(COLD)
        bodies = self._cold_bodies[start:] + self._cold_bodies[:start]
        needed = int(rate * rig.scale.seconds * 1.2) + 1
        got = load.open_loop(
            server.address,
            [post("/v1/verify", body) for body in bodies[:needed]],
            rate=rate,
            seconds=rig.scale.seconds,
            random=rig.random,
        )
        p50, p99 = got.percentile(0.5) * 1e3, got.percentile(0.99) * 1e3
        return Sample(p99, f"p99 {p99:.2f} ms, p50 {p50:.2f} ms at {rate:,.0f}/s")

    # Batches and streams

    def _batch(self, server: Server, batches: list[bytes], connections: int) -> Sample:
        start = self.rig.random.randrange(len(batches))
        used = cpu_seconds(server.pid)
        got = load.closed_loop(
            server.address,
            batches[start:] + batches[:start],
            b'"match":%d' % BATCH,
            seconds=self.rig.scale.seconds,
            connections=connections,
        )
        used = cpu_seconds(server.pid) - used
        rate = got.rate * BATCH
        return Sample(
            rate,
            f"{rate:,.0f}/s, {1e3 / got.rate:.2f} ms a batch, "
            f"{used / got.answers * 1e3:.2f} ms of CPU",
            used / got.answers / BATCH,
        )

    def _codec(self) -> Sample:
        """Over the same bodies and answers as the service's."""
        batches = self._hot_batches
        answers = [body for _, body in ask_all(self._cached.address, batches)]
        files = (
            self.rig.file("requests.ndjson", [each.partition(b"\r\n\r\n")[2] for each in batches]),
            self.rig.file("responses.ndjson", answers),
        )
        said = self.programs.peer("codec", *map(str, files), str(self.rig.scale.seconds))
        each = said["seconds"] / said["rounds"]
        used = said["cpu"] / said["rounds"]
        return Sample(BATCH / each, f"{each * 1e3:.2f} ms a batch", used / BATCH)

    def _stream(self) -> Sample:
        server, count = self._cached, self.rig.scale.stream_lines
        before = processes.resident_bytes(server.pid)
        processes.forget_peak(server.pid)
        used = cpu_seconds(server.pid)
        seconds, tail = stream(server.address, "/v1/verify/stream", self._hot_bodies, count)
        used = cpu_seconds(server.pid) - used
        self._grown = (processes.peak_bytes(server.pid) - before) / 2**20
        if b'"match":%d,' % count not in tail or b'"complete":true' not in tail:
            raise RigError(f"a stream of {count} lines ended with {tail!r}")
        rate = count / seconds
        return Sample(
            rate,
            f"{rate:,.0f}/s over {count:,} lines, {used / count * 1e6:.1f} µs of CPU each",
            used / count,
        )

    def _growth(self) -> Sample:
        """Of the last stream."""
        return Sample(self._grown, f"{self._grown:.1f} MiB")


def agreed(servers: Mapping[str, Server], bodies: Sequence[bytes]) -> None:
    """Have servers answer the same questions; RigError when they differ."""
    verdicts = agreement.check(servers, bodies)
    told = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.most_common())
    print(f"{', '.join(servers)} give the same answers to {len(bodies):,} questions: {told}")


def saturated(rig: Rig, server: Server, questions: Path) -> load.Saturated:
    """Single questions of a file, from a drawn place in it, as fast as they are answered."""
    return load.wrk(
        server.url,
        questions,
        rig.other,
        seconds=rig.scale.seconds,
        offset=rig.random.randrange(COLD),
    )


def _disturbed(share: float) -> str:
    """A warning when somebody else was on the core of the server."""
    return f", others took {share:.0%} of its core" if share > 0.1 else ""


def batches(bodies: list[bytes]) -> list[bytes]:
    """Requests of BATCH questions each."""
    return [
        post("/v1/verify/batch", b'{"invoices":[%b]}' % b",".join(bodies[at : at + BATCH]))
        for at in range(0, len(bodies), BATCH)
    ]
