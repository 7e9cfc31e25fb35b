"""When a run does not count: the generator was the bottleneck, and its figures are its own."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.histogram import Histogram
from loadtests.result import StageRun, Window

# Later than this, a request was late by the generator's fault, unless a tenth of the smallest p99
# of its stage is more. A run is void when, over a stage, more than LATE_SHARE of its requests were
# late, or when a generator took more than MOST_OF_CORE of a core.
LATE_SECONDS = 0.001
LATE_SHARE = 0.01
MOST_OF_CORE = 0.8


def void(stages: Sequence[StageRun], windows: Sequence[Window], generators: int) -> str | None:
    """Why a run does not count: in some stage the generator was late, or short of CPU."""
    for stage in stages:
        if stage.warm_up:
            continue
        within = [window for window in windows if stage.begin <= window.second < stage.end]
        lateness = Histogram.of(window.lateness for window in within)
        p99 = min((each.latency["p99"] for each in stage.summary.values()), default=0.0)
        # What is counted from the intended moment is hardly changed by a tenth of it.
        allowed = max(LATE_SECONDS, p99 / 10)
        on_time = lateness.share_within(allowed)
        if on_time < 1 - LATE_SHARE:
            return (
                f"stage {stage.name}: the generator was over {allowed * 1e3:.0f} ms late with "
                f"{1 - on_time:.1%} of its requests; expected at most {LATE_SHARE:.0%}: more "
                "--generators, or a quieter machine"
            )
        cpu = sum(window.generator_cpu for window in within) / (stage.end - stage.begin)
        if cpu > MOST_OF_CORE * generators:
            return (
                f"stage {stage.name}: the generators took {cpu / generators:.0%} of a core each; "
                f"expected at most {MOST_OF_CORE:.0%}: more --generators"
            )
    return None
