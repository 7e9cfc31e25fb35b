"""What a run leaves: ``result.json``, second by second, and its summary for each stage.

A *request* is one HTTP request; a *question* is one invoice asked about: a single request has one,
a batch of 1,000 has 1,000. Durations are seconds, and latencies count from the moment that a
request was *meant* to be sent at. Everything that happens to a request is booked in the second of
that moment, whenever it ends: what a second offered and what became of it stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from loadtests.histogram import Histogram

FORMAT = 1
FILE = "result.json"
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}


class Cell(msgspec.Struct):
    """One class of requests in one second.

    Requests: ``offered`` = ``answered`` + ``refused`` (429, or 503 as a whole) + ``failed`` (every
    other status; ``failures`` says how) + ``cut`` (its connection ended first) + ``hung`` (no
    answer within the client's patience) + ``unreachable`` (no connection).
    Questions: ``questions`` = ``right`` + ``wrong`` + ``unavailable`` + ``refused_questions`` +
    ``lost``. ``good`` are right answers within the class's time; goodput is ``good`` a second.
    """

    offered: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    cut: int = 0
    hung: int = 0
    unreachable: int = 0
    questions: int = 0
    right: int = 0
    good: int = 0
    wrong: int = 0
    unavailable: int = 0
    refused_questions: int = 0
    lost: int = 0
    # Of right answers.
    verdicts: dict[str, int] = msgspec.field(default_factory=dict)
    # Of unavailable questions, by the reason that the service gives; of failed requests, by status.
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    failures: dict[str, int] = msgspec.field(default_factory=dict)
    # Of answered requests, from the intended moment to the last byte.
    latency: Histogram = msgspec.field(default_factory=Histogram)
    # Of refused requests: how cheap a refusal is for the caller.
    refusal: Histogram = msgspec.field(default_factory=Histogram)

    def merge(self, other: Cell) -> None:
        """Add what another one has counted."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in (
            (self.verdicts, other.verdicts),
            (self.reasons, other.reasons),
            (self.failures, other.failures),
        ):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        self.latency.merge(other.latency)
        self.refusal.merge(other.refusal)


_NUMBERS = tuple(field.name for field in msgspec.structs.fields(Cell) if field.type in (int, "int"))


class Service(msgspec.Struct):
    """What the service said of itself in one second; None where it has no such.

    ``resident_bytes`` is None when it gave no metrics in time.

    ``cpu`` is seconds of CPU by part: ``workers``, ``supervisor``, ``databases``, ``others`` (the
    rest of the machine but the generator). Rates and sums are of this second, lags the highest.
    """

    cpu: dict[str, float] = msgspec.field(default_factory=dict)
    resident_bytes: int | None = None
    cache_hits: float | None = None
    cache_misses: float | None = None
    queries: float | None = None
    query_keys: float | None = None
    waiting_keys: float | None = None
    connections: float | None = None
    replica_lag_seconds: float | None = None
    loop_lag_p99: float | None = None
    # Keys that were found to ask as guessers do.
    suspicions: float | None = None


class Window(msgspec.Struct):
    """One second of a run, by the intended moments; ``second`` counts from its beginning."""

    second: int
    cells: dict[str, Cell] = msgspec.field(default_factory=dict)
    service: Service | None = None
    # Of the generator: CPU seconds of all its processes, how late it sent (seconds), and how many
    # requests had to wait for one of its connections.
    generator_cpu: float = 0.0
    lateness: Histogram = msgspec.field(default_factory=Histogram)
    waited: int = 0

    def merge(self, other: Window) -> None:
        """Add what another generator has seen in the same second."""
        for name, cell in other.cells.items():
            self.cells.setdefault(name, Cell()).merge(cell)
        self.generator_cpu += other.generator_cpu
        self.lateness.merge(other.lateness)
        self.waited += other.waited
        self.service = self.service or other.service


class StageRun(msgspec.Struct):
    """A stage as it was run: from second ``begin`` up to, and without, second ``end``.

    ``rate`` is requests a second at its end, ``rate_at_begin`` at its beginning (a ramp).
    ``warm_up`` stages are shown and never judged. ``held``: did the service carry it (step runs).
    """

    name: str
    begin: int
    end: int
    rate: float
    rate_at_begin: float
    warm_up: bool = False
    held: bool | None = None
    # The same numbers as in ``windows``, summed up for readers without this code.
    summary: dict[str, ClassSummary] = msgspec.field(default_factory=dict)
    service: dict[str, float] = msgspec.field(default_factory=dict)


class ClassSummary(msgspec.Struct):
    """A stage and class: requests and questions a second, seconds of latency, verdicts."""

    offered: float
    admitted: float
    refused: float
    questions: float
    goodput: float
    wrong: int
    unavailable: int
    lost: int
    latency: dict[str, float]
    verdicts: dict[str, int]


class Event(msgspec.Struct):
    """Something to shade in the timeline: a fault, a restart, a feed. Seconds of the run."""

    kind: str
    begin: float
    end: float
    label: str = ""


class ClassInfo(msgspec.Struct):
    """A class of requests: its endpoint, questions in each request, and seconds that are good."""

    endpoint: str
    items: int
    within: float


class Result(msgspec.Struct):
    """A whole run."""

    scenario: str
    summary: str  # what the scenario is, in a sentence
    began: str  # ISO 8601 with its zone
    commit: str
    environment: dict[str, Any]
    configuration: dict[str, Any]
    classes: dict[str, ClassInfo]
    stages: list[StageRun]
    windows: list[Window]
    events: list[Event] = msgspec.field(default_factory=list)
    # Why the run does not count, or None: the generator was late, or short of CPU.
    void: str | None = None
    # The first wrong answers, in words.
    wrong: list[str] = msgspec.field(default_factory=list)
    generators: int = 1
    format: int = FORMAT

    def merged(self, begin: int, end: int) -> dict[str, Cell]:
        """The seconds from ``begin`` up to, and without, ``end``, by class."""
        cells: dict[str, Cell] = {}
        for window in self.windows:
            if begin <= window.second < end:
                for name, cell in window.cells.items():
                    cells.setdefault(name, Cell()).merge(cell)
        return cells

    @property
    def total(self) -> Cell:
        """All classes and seconds, warm-up included: one wrong answer anywhere is one."""
        whole = Cell()
        for window in self.windows:
            for cell in window.cells.values():
                whole.merge(cell)
        return whole


def summaries(cells: Mapping[str, Cell], seconds: float) -> dict[str, ClassSummary]:
    """Each class of a stage that took so many seconds."""
    return {
        name: ClassSummary(
            offered=cell.offered / seconds,
            admitted=(cell.offered - cell.refused) / seconds,
            refused=cell.refused / seconds,
            questions=cell.questions / seconds,
            goodput=cell.good / seconds,
            wrong=cell.wrong,
            unavailable=cell.unavailable,
            lost=cell.lost,
            latency={
                **dict(
                    zip(PERCENTILES, cell.latency.percentiles(PERCENTILES.values()), strict=True)
                ),
                "max": cell.latency.max,
            },
            verdicts=dict(sorted(cell.verdicts.items())),
        )
        for name, cell in sorted(cells.items())
    }


def _pack(value: object) -> object:
    if isinstance(value, Histogram):
        return {
            "buckets": sorted(value.counts.items()),
            "total_us": value.total,
            "max_us": value.longest,
        }
    # msgspec's way of saying that a type is none of ours.
    raise NotImplementedError(f"{type(value).__name__} does not belong in a result")


def _unpack(kind: type, value: Any) -> object:
    if kind is Histogram:
        return Histogram(dict(value["buckets"]), value["total_us"], value["max_us"])
    # msgspec's way of saying that a type is none of ours.
    raise NotImplementedError(f"{kind.__name__} does not belong in a result")


def encode(value: Result | Window) -> bytes:
    """JSON, on one line."""
    return msgspec.json.encode(value, enc_hook=_pack)


def decode_window(line: bytes) -> Window:
    """What ``encode`` made of a window."""
    return msgspec.json.decode(line, type=Window, dec_hook=_unpack)


def write(result: Result, folder: Path) -> Path:
    """Write ``result.json`` into a folder, which is made if need be; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    part = file.with_suffix(".part")
    part.write_bytes(encode(result) + b"\n")
    part.replace(file)
    return file


class NoResult(Exception):
    """A folder has no result that can be read; the message says why."""


def read(folder: Path) -> Result:
    """The result in a folder, or in a file itself. NoResult when there is none of this format."""
    file = folder / FILE if folder.is_dir() else folder
    try:
        result = msgspec.json.decode(file.read_bytes(), type=Result, dec_hook=_unpack)
    except OSError as error:
        raise NoResult(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise NoResult(f"{file}: {error}") from error
    if result.format != FORMAT:
        raise NoResult(f"{file}: expected format {FORMAT}, got {result.format}")
    return result
