"""The numbers of a run as tables of text, for the Markdown page and for the HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from loadtests.histogram import Histogram
from loadtests.report.budgets import budget
from loadtests.report.words import count, duration, share, size
from loadtests.result import Result, StageRun, Window

# What a stage's ``service`` may hold: the heading of its column, and how its numbers are shown.
_SERVICE: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "cache_hit_ratio": ("cache hits", share),
    "queries": ("queries/s", count),
    "keys_a_query": ("keys a query", count),
    "waiting_keys_max": ("most keys waiting", count),
    "connections_max": ("most connections", count),
    "replica_lag_seconds_max": ("longest replica lag", duration),
    "loop_lag_p99_max": ("highest p99 of loop lag", duration),
    "resident_bytes_max": ("most memory", size),
}

_LOAD = [
    *("stage", "class", "", "offered/s", "admitted/s", "refused/s", "questions/s", "goodput/s"),
    *("latencies", "p50", "p95", "p99", "p99.9", "max"),
]
_ANSWERS = [
    *("stage", "class", "right, by verdict", "unavailable and failed, by reason"),
    *("questions", "right", "wrong", "unavailable", "refused", "lost"),
    *("failed", "cut", "hung", "no connection"),
]


class Table(NamedTuple):
    """``texts`` columns of words come first, numbers follow; ``note`` says how to read it."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


def tables(result: Result) -> list[Table]:
    """Every table that has something in it."""
    every = (
        _load(result),
        _answers(result),
        _service(result),
        _generator(result),
        _events(result),
        Table(
            "Environment",
            "What the run was taken with.",
            ("", ""),
            _pairs({"commit": result.commit, **result.environment}),
            2,
        ),
        Table(
            "Configuration",
            "What was asked for.",
            ("", ""),
            _pairs({**result.configuration, "generators": result.generators}),
            2,
        ),
    )
    return [table for table in every if table.rows]


def _load(result: Result) -> Table:
    allowed = budget(result)
    rows = []
    for stage in result.stages:
        cells = result.merged(stage.begin, stage.end)
        for name, seen in sorted(stage.summary.items()):
            latency = seen.latency
            rows.append(
                (
                    stage.name,
                    name,
                    _said(stage, latency["p99"], allowed.get(name)),
                    count(seen.offered),
                    count(seen.admitted),
                    count(seen.refused),
                    count(seen.questions),
                    count(seen.goodput),
                    count(len(cells[name].latency)),
                    *(duration(latency[key]) for key in ("p50", "p95", "p99", "p999", "max")),
                )
            )
    return Table(
        "Load and latency",
        "Requests a second were offered, admitted, refused; questions a second were asked, and "
        "goodput are those answered right and in time. Latencies count from the moment that a "
        "request was meant to be sent at; how many there are says what a percentile is worth.",
        _LOAD,
        rows,
        3,
    )


def _said(stage: StageRun, p99: float, allowed: float | None) -> str:
    """What a stage is, and whether it was held and within its budget."""
    said = []
    if stage.warm_up:
        said.append("warm-up")
    if stage.held is not None:
        said.append("held" if stage.held else "not held")
    if allowed is not None and p99 > allowed and not stage.warm_up:
        said.append("over budget")
    return ", ".join(said)


def _answers(result: Result) -> Table:
    rows = []
    for stage in result.stages:
        for name, cell in sorted(result.merged(stage.begin, stage.end).items()):
            lost = (cell.failed, cell.cut, cell.hung, cell.unreachable)
            rows.append(
                (
                    stage.name,
                    name,
                    _counts(cell.verdicts),
                    "; ".join(filter(None, (_counts(cell.reasons), _counts(cell.failures)))),
                    *map(count, (cell.questions, cell.right, cell.wrong, cell.unavailable)),
                    *map(count, (cell.refused_questions, cell.lost, *lost)),
                )
            )
    return Table(
        "Answers",
        "Questions, by what became of them; then requests that failed (another status), were cut "
        "off, hung, or found no connection.",
        _ANSWERS,
        rows,
        4,
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count(many)}" for name, many in sorted(counts.items()))


def _service(result: Result) -> Table:
    """Only what the service told; CPU also by what it did."""
    known = {name for stage in result.stages for name in stage.service}
    parts = sorted(name for name in known if name.startswith("cpu_"))
    others = [name for name in _SERVICE if name in known]
    silent = {stage.name: _silent(result, stage) for stage in result.stages}
    header = ["stage"]
    for part in parts:
        header += [f"CPU {part.removeprefix('cpu_')} (cores)", "µs a question"]
    header += [_SERVICE[name][0] for name in others]
    if any(silent.values()):
        header.append("seconds without /metrics")
    rows = []
    for stage in result.stages:
        if not stage.service and not silent[stage.name]:
            continue
        asked = sum(seen.questions for seen in stage.summary.values())
        row = [stage.name]
        for part in parts:
            used = stage.service.get(part)
            row.append("" if used is None else f"{used:.2f}")
            row.append("" if used is None or not asked else f"{used / asked * 1e6:.1f}")
        for name in others:
            value = stage.service.get(name)
            row.append("" if value is None else _SERVICE[name][1](value))
        if any(silent.values()):
            row.append(count(silent[stage.name]))
        rows.append(row)
    return Table("Service", "What it told of itself, once a second.", header, rows)


def _silent(result: Result, stage: StageRun) -> int:
    """Seconds of a stage in which the service was asked for its metrics and gave none."""
    asked = [
        window.service for window in result.windows if stage.begin <= window.second < stage.end
    ]
    return sum(each is not None and each.resident_bytes is None for each in asked)


def _generator(result: Result) -> Table:
    rows = []
    for stage in result.stages:
        seconds = stage.end - stage.begin
        within = [each for each in result.windows if stage.begin <= each.second < stage.end]
        if within:
            rows.append((stage.name, *_lateness(within, seconds, result.generators)))
    return Table(
        "Generator",
        "How much later than meant it sent, and the CPU it took: the run counts only while both "
        "are small.",
        ("stage", "p50 late", "p99 late", "most late", "CPU of each (cores)", "waited to connect"),
        rows,
    )


def _lateness(windows: Iterable[Window], seconds: int, generators: int) -> tuple[str, ...]:
    lateness, cpu, waited = Histogram(), 0.0, 0
    for window in windows:
        lateness.merge(window.lateness)
        cpu += window.generator_cpu
        waited += window.waited
    p50, p99 = lateness.percentiles((0.5, 0.99))
    return (
        *map(duration, (p50, p99, lateness.max)),
        f"{cpu / seconds / generators:.2f}",
        count(waited),
    )


def _events(result: Result) -> Table:
    rows = [
        (event.kind, event.label, f"{event.begin:.1f} s", f"{event.end:.1f} s")
        for event in result.events
    ]
    return Table("Events", "Seconds of the run.", ("kind", "what", "from", "to"), rows, 2)


def _pairs(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in known.items()]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)
