"""``simulation.md`` and ``simulation.json``: what came of each load and signal, and by which rules.

Every assumption is printed: a simulation is worth as much as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from loadtests.autoscaler import plots
from loadtests.autoscaler.behavior import Rules
from loadtests.autoscaler.hpa import SYNC
from loadtests.autoscaler.load import Load
from loadtests.autoscaler.signals import CRON, OF_CPU, Schedule
from loadtests.autoscaler.simulate import Outcome, Run, Setup, least_pod_hours
from loadtests.report.markdown import aligned
from loadtests.report.words import count, joined, rate, share

_HEADER = ("signal", "time to capacity", "refused", "pod-hours", "most pods", "changes")


class Simulated(msgspec.Struct, frozen=True):
    """One load with every signal, in the order in which they were asked for."""

    load: Load
    setup: Setup
    runs: Mapping[str, Run]
    schedule: Schedule | None = None


def write(every: Sequence[Simulated], folder: Path) -> list[Path]:
    """Write the page, the numbers and the plots into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    for each in every:
        texts[f"{each.load.name}.svg"] = plots.overview(each.load, each.runs)
        for signal, run in each.runs.items():
            texts[f"{each.load.name}-{signal}.svg"] = plots.of_signal(each.load, signal, run)
    texts["simulation.md"] = page(every)
    texts["simulation.json"] = msgspec.json.format(msgspec.json.encode(_numbers(every))).decode()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def page(every: Sequence[Simulated]) -> str:
    """The whole page."""
    parts = ["# What an autoscaler would do\n", *(f"{headline(each)}\n" for each in every)]
    for each in every:
        parts += [f"## {each.load.title}\n", table(each), f"{_least(each)}\n"]
        parts.append(f"![Signals compared]({each.load.name}.svg)\n")
        parts += [f"![By {signal}]({each.load.name}-{signal}.svg)\n" for signal in each.runs]
    parts += ["## Assumptions\n", "".join(f"- {line}\n" for line in assumptions(every))]
    return "\n".join(parts)


def headline(each: Simulated) -> str:
    """Which signals refuse least, and which most, in a sentence."""
    outcomes = sorted((run.outcome for run in each.runs.values()), key=lambda found: found.refused)
    best, worst = outcomes[0], outcomes[-1]
    equal = [found.signal for found in outcomes if share(found.refused) == share(best.refused)]
    verb = "refuse" if len(equal) > 1 else "refuses"
    said = f"{each.load.title}: {joined(equal)} {verb} {share(best.refused)} of all"
    if best.seconds_short:
        said += f" ({_capacity(best)} to capacity)"
    if worst.signal not in equal:
        said += f", {worst.signal} {share(worst.refused)}"
    return f"{said}."


def table(each: Simulated) -> str:
    """A line for each signal, as Markdown that can be read as it is."""
    return aligned([_HEADER, *(_row(run.outcome) for run in each.runs.values())], texts=1)


def _row(found: Outcome) -> tuple[str, ...]:
    return (
        found.signal,
        _capacity(found),
        share(found.refused),
        count(found.pod_hours),
        count(found.most_pods),
        count(found.changes),
    )


def assumptions(every: Sequence[Simulated]) -> list[str]:
    """All that was assumed, one a line, with units."""
    setup = every[0].setup
    model, pipeline = setup.model, setup.pipeline
    lines = [
        (
            f"a pod answers {rate(model.capacity)} within the latency budget; an answer takes "
            f"{1e6 * model.cpu_per_request:.3g} µs of CPU, a refusal "
            f"{1e6 * model.cpu_per_refusal:.3g} µs, and it has {model.cores:g} "
            f"core{'s' * (model.cores != 1)}"
        ),
        (
            f"a pod is ready {model.start_seconds:g} s after it was asked for, carries its whole "
            f"capacity from then on, and is paid for {model.drain_seconds:g} s after its last "
            "request"
        ),
        (
            f"there are {setup.bounds.least} to {setup.bounds.most} pods, and metrics aim at "
            f"{share(setup.target)} of a pod's capacity"
        ),
        f"the autoscaler looks every {SYNC} s",
        f"up: {_rules(setup.behavior.scale_up)}",
        f"down: {_rules(setup.behavior.scale_down)}",
        (
            f"served and offered are means of {pipeline.window} s, CPU is one of "
            f"{OF_CPU.window} s; all are taken every {pipeline.interval} s, and read "
            f"{pipeline.delay} s (CPU: {OF_CPU.delay} s) later"
        ),
        (
            "load is spread evenly over the pods that are ready; who is refused does not try "
            "again; there are nodes for all pods"
        ),
    ]
    lines += [f"no metric of pods from {a} s to {b} s" for a, b in setup.outages]
    lines += [
        f"cron ({each.load.title}): {_schedule(each.schedule)}"
        for each in every
        if each.schedule is not None and any(CRON in signal.split("+") for signal in each.runs)
    ]
    return lines


def _least(each: Simulated) -> str:
    needed, most = least_pod_hours(each.load, each.setup)
    return (
        f"Who knew the load in advance would pay for {count(needed)} pod-hours, who always had "
        f"pods for its highest second for {count(most)}."
    )


def _capacity(found: Outcome) -> str:
    if found.seconds_to_capacity is None:
        return f"never ({count(found.seconds_short)} s)"
    return f"{count(found.seconds_to_capacity)} s"


def _rules(rules: Rules) -> str:
    if rules.select_policy == "Disabled":
        return "never"
    policies = [
        f"{policy.value}{' %' if policy.type == 'Percent' else ' pods'} in "
        f"{policy.period_seconds} s"
        for policy in rules.policies
    ]
    most = "less" if rules.select_policy == "Min" else "more"
    which = f", whichever is {most}" if len(policies) > 1 else ""
    return (
        f"{' or '.join(policies)}{which}; window of {rules.stabilization_window_seconds} s; "
        f"tolerance of {share(rules.tolerance)}"
    )


def _schedule(schedule: Schedule) -> str:
    changes = [
        (begin, pods)
        for index, (begin, pods) in enumerate(schedule)
        if not index or pods != schedule[index - 1][1]
    ]
    return ", ".join(
        f"{begin // 3_600:02}:{begin % 3_600 // 60:02} {pods} pods" for begin, pods in changes
    )


def _numbers(every: Sequence[Simulated]) -> object:
    return {
        "setup": every[0].setup,
        "loads": {
            each.load.name: {
                "title": each.load.title,
                "seconds": len(each.load.rates),
                "highest_requests_per_second": max(each.load.rates),
                "outcomes": [run.outcome for run in each.runs.values()],
            }
            for each in every
        },
    }
