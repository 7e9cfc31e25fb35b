"""What a run says, in one sentence: whether the service holds the load, within its budget.

Wrong answers come first, since no speed makes up for them; then whether the run counts at all; then
the budget; then requests that got no answer.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from loadtests.report.budgets import budget, in_steps, judged, knee, tails, told, total, worst
from loadtests.report.words import count, duration, joined, rate, share
from loadtests.result import Cell, Result

Kind = Literal["wrong", "void", "missed", "errors", "holds"]


class Verdict(NamedTuple):
    """What became of a run; ``facts`` are the few numbers to know, and what each is."""

    kind: Kind
    headline: str
    facts: list[tuple[str, str]]


def headline(result: Result) -> str:
    """The run in one sentence."""
    return judge(result).headline


def judge(result: Result) -> Verdict:
    """The run in one sentence, whether it is good news, and the few numbers to know."""
    whole = result.total
    kind: Kind
    if whole.wrong:
        kind = "wrong"
        said = (
            f"{count(whole.wrong)} of {count(whole.right + whole.wrong)} answers were wrong: "
            "whatever its speed, this must not go out"
        )
    elif result.void:
        kind, said = "void", f"this run does not count: {result.void}"
    elif in_steps(result):
        kind, said = _of_steps(result)
    else:
        kind, said = _of_stages(result)
    return Verdict(kind, said, _facts_of_steps(result) if in_steps(result) else _facts(result))


def _of_steps(result: Result) -> tuple[Kind, str]:
    found = knee(result)
    if found.held is None:
        lowest = min(stage.rate for stage in result.stages if stage.held is not None)
        return "missed", f"does not hold even its lowest step, {rate(lowest)}"
    if found.broken is None:
        where = f"the knee was not reached, the highest step was {rate(found.held)}"
    else:
        where = f"the knee is at {rate(found.held)}"
    if not (allowed := _allowed(result)):
        p99 = duration(total(result, told(result)).latency.percentile(0.99))
        said = f"holds {rate(found.held)} with a p99 of {p99}; {where}"
    elif found.within is None:
        return "missed", f"holds no step within {allowed}; {where}"
    else:
        said = f"holds {rate(found.within)} within {allowed}; {where}"
    if lost := _lost(total(result, judged(result))):
        return "errors", f"{said}; up to it {lost}"
    return "holds", said


def _allowed(result: Result) -> str:
    """The budget in words: "20 ms" when there is one class, else with the class of each."""
    asked = {name for stage in result.stages for name in stage.summary}
    allowed = {name: within for name, within in sorted(budget(result).items()) if name in asked}
    if len(asked) == 1:
        return joined([duration(within) for within in allowed.values()])
    return joined([f"{duration(within)} ({name})" for name, within in allowed.items()])


def _of_stages(result: Result) -> tuple[Kind, str]:
    stages = judged(result)
    whole = total(result, stages)
    most = max((max(stage.rate, stage.rate_at_begin) for stage in stages), default=0.0)
    said = ", ".join(
        [
            f"answered {count(whole.right)} questions at up to {count(most)} requests/s",
            "none wrong",
            *_aside(whole),
        ]
    )
    found = worst(tails(result, stages))
    if missed := [tail for tail in found if tail.used > 1]:
        where = "; ".join(f"p99 {tail} in stage {tail.stage.name}" for tail in missed)
        return "missed", f"misses its budget: {where}; {said}"
    if found:
        said += f"; p99 {', '.join(map(str, found))}"
    if lost := _lost(whole):
        return "errors", f"{lost}; {said}"
    if not whole.right:
        return "errors", f"no question was answered; {said}"
    return "holds", f"{said}: holds" if found else f"{said}; it has no latency budget"


def _aside(whole: Cell) -> list[str]:
    """What is neither right nor wrong, and no error: worth a word when there is any."""
    said = []
    if whole.refused:
        said.append(f"{share(whole.refused / whole.offered)} of the requests refused")
    if whole.unavailable:
        said.append(f"{share(whole.unavailable / whole.questions)} of the questions unavailable")
    return said


def _lost(whole: Cell) -> str:
    """Requests that got no answer, and how; empty when there are none."""
    ways = {
        "failed": whole.failed,
        "cut off": whole.cut,
        "hung": whole.hung,
        "without a connection": whole.unreachable,
    }
    lost = sum(ways.values())
    how = joined([f"{count(many)} {way}" for way, many in ways.items() if many])
    return f"{count(lost)} of {count(whole.offered)} requests got no answer ({how})" if lost else ""


def _facts_of_steps(result: Result) -> list[tuple[str, str]]:
    found = knee(result)
    facts = []
    if found.held is not None:
        facts.append((rate(found.held), "the knee: the highest load held"))
    if found.broken is not None:
        facts.append((rate(found.broken), "the first load not held"))
    if at := told(result):
        p99 = total(result, at).latency.percentile(0.99)
        facts.append((duration(p99), f"p99 at {rate(at[0].rate)}"))
    return facts


def _facts(result: Result) -> list[tuple[str, str]]:
    stages = judged(result)
    whole = total(result, stages)
    facts = [(count(result.total.wrong), "wrong answers")]
    if whole.questions:
        good = share(whole.good / whole.questions)
        facts.append((good, "of the questions answered right and in time"))
    found = [tail for tail in tails(result, stages) if tail.p99 is not None]
    if found:
        tail = max(found, key=lambda tail: tail.used)
        label = f"p99 of {tail.name} in stage {tail.stage.name} (budget {duration(tail.budget)})"
        facts.append((duration(tail.p99 or 0.0), label))
    elif whole.answered:
        facts.append((duration(whole.latency.percentile(0.99)), "p99 of all requests"))
    return facts
