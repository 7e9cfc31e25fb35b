from __future__ import annotations

from loadtests.report.markdown import escaped, fenced, table
from loadtests.report.tables import Table, tables
from loadtests.result import Result
from tests.loadtests import samples


def _named(result: Result) -> dict[str, Table]:
    return {table.title: table for table in tables(result)}


def test_every_row_has_a_cell_for_every_column(steps: Result, peak: Result, dead: Result) -> None:
    """No table is torn, whatever the run lacks."""
    for run in (steps, peak, dead):
        for each in tables(run):
            assert {len(row) for row in each.rows} == {len(each.header)}, each.title


def test_each_stage_and_class_has_its_load_and_latency(peak: Result) -> None:
    """The first table has a row for each class of each stage, warm-up included."""
    rows = _named(peak)["Load and latency"].rows
    assert len(rows) == len(peak.stages) * len(peak.classes)
    assert rows[2][:4] == ("warm-up", "single", "warm-up", "636")


def test_a_step_says_whether_it_was_held_and_within_its_budget(steps: Result) -> None:
    """Held over its budget is told apart from held."""
    said = {row[0]: row[2] for row in _named(steps)["Load and latency"].rows}
    assert said["1,800/s"] == "held"
    assert said["2,100/s"] == "held, over budget"
    assert said["2,400/s"] == "not held, over budget"


def test_the_service_tells_cpu_a_question() -> None:
    """Cores ÷ questions a second, in microseconds."""
    run = samples.step_run(scale=0.1)
    stage = run.stages[1]
    stage.summary["single"].questions = 1_000
    row = _named(run)["Service"].rows[1]
    assert _named(run)["Service"].header[3:5] == ["CPU workers (cores)", "µs a question"]
    assert row[3:5] == ["0.40", "400.0"]


def test_seconds_without_metrics_are_counted() -> None:
    """A service that was asked and gave no numbers is told apart from one that was not asked."""
    run = samples.step_run(scale=0.1)
    first = run.stages[0]
    for window in run.windows:
        if first.begin <= window.second < first.begin + 3 and window.service is not None:
            window.service.resident_bytes = None
    found = _named(run)["Service"]
    assert found.header[-1] == "seconds without /metrics"
    assert [row[-1] for row in found.rows[:2]] == ["3", "0"]


def test_percentiles_say_of_how_many(peak: Result) -> None:
    """A p99 of a few latencies can be told from one of many."""
    found = _named(peak)["Load and latency"]
    place = found.header.index("latencies")
    stage = peak.stages[0]
    answered = peak.merged(stage.begin, stage.end)
    shown = {row[1]: row[place] for row in found.rows if row[0] == stage.name}
    assert shown == {name: f"{cell.answered:,}" for name, cell in answered.items()}


def test_what_a_run_does_not_have_has_no_table(dead: Result) -> None:
    """A service that told nothing, and a run without events, leave no empty tables."""
    assert not {"Service", "Events"} & _named(dead).keys()


def test_lost_requests_are_told_by_how_they_were_lost(dead: Result) -> None:
    """Requests that found no connection stand in their own column."""
    found = _named(dead)["Answers"]
    place = found.header.index("no connection")
    assert all(int(row[place].replace(",", "")) > 0 for row in found.rows)


def test_text_from_outside_means_nothing_to_markdown() -> None:
    """A bar, a tag and backquotes stay letters, on one line."""
    assert escaped("a|b\n<i>`x`") == r"a\|b \<i>\`x\`"


def test_a_cell_with_a_bar_does_not_tear_its_table() -> None:
    """Each line of the Markdown has as many columns as the header."""
    lines = table(Table("", "", ("a", "b"), [("x|y", "1")])).splitlines()
    assert lines == ["| a | b |", "| --- | ---: |", r"| x\|y | 1 |"]


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    """A wrong answer that quotes backquotes does not end its block."""
    assert fenced(["a ```` b"]) == "`````text\na ```` b\n`````\n"
