"""What several generators, or several machines, have seen of one run, as one: nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from loadtests.result import NoResult, Result, Window, summaries


def merged_windows(runs: Iterable[Iterable[Window]]) -> list[Window]:
    """The windows of several generators of one run as those of one: nothing is lost."""
    windows: dict[int, Window] = {}
    for run in runs:
        for window in run:
            windows.setdefault(window.second, Window(window.second)).merge(window)
    return [windows[second] for second in sorted(windows)]


def merged(results: Sequence[Result]) -> Result:
    """What several machines have seen of one run, as one result; their stages are the same.

    NoResult when they are not all of one run.
    """
    first, *others = results
    for other in others:
        if (other.scenario, _times(other)) != (first.scenario, _times(first)):
            raise NoResult(
                f"expected results of one run with the same stages, got {first.scenario} of "
                f"{first.began} and {other.scenario} of {other.began}"
            )
    _all_parts([result.configuration.get("part", "") for result in results])
    whole = msgspec.structs.replace(
        first,
        configuration=first.configuration | {"part": "1 of 1"},
        windows=merged_windows(each.windows for each in results),
        events=[event for each in results for event in each.events],
        void="; ".join(each.void for each in results if each.void) or None,
        wrong=[text for each in results for text in each.wrong],
        generators=sum(each.generators for each in results),
    )
    for stage in whole.stages:
        cells = whole.merged(stage.begin, stage.end)
        stage.summary = summaries(cells, stage.end - stage.begin)
    return whole


def _all_parts(parts: Sequence[str]) -> None:
    """Raise NoResult unless each part of a load is there, once."""
    count = parts[0].rpartition(" ")[2]
    expected = [f"{part} of {count}" for part in range(1, int(count or 0) + 1)]
    if sorted(parts) != sorted(expected):
        raise NoResult(
            f"expected each part of one run once (--part K/N), got {', '.join(sorted(parts))}"
        )


def _times(result: Result) -> list[tuple[str, int, int]]:
    return [(stage.name, stage.begin, stage.end) for stage in result.stages]
