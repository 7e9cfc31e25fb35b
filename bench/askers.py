"""Callers that ask as people and programs do, and as those do who guess, in virtual time.

Scenarios of loadtests/, each as one caller's, the hardest case; what else honest callers do
(``OTHERS``), and what others do (``ATTACKS``). ``play`` has the detector look at them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import cache, partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import msgspec

from loadtests import questions
from loadtests.questions import Book
from loadtests.scenario import Scenario, Stage, load
from verifier.access.enumeration import Suspicion, Trail
from verifier.invoice.claim import Invalid
from verifier.invoice.fields import oldest_date
from verifier.invoice.identity import key_of
from verifier.invoice.parsing import parse
from verifier.synthetic.ledger import Ledger
from verifier.synthetic.questions import Questions

TODAY = date(2026, 11, 24)
BOOK = Book(200_000, 1, TODAY)

HONEST = (
    "peak_hour",
    "hot_invoice",
    "spike",
    "cold_cache",
    "bulk",
    "ingest_under_load",
    "soak",
    "step",
)
# How much of a scenario's rate one caller has.
SHARES = (1.0, 0.1, 0.01)
SEEDS = 3


class Answered(NamedTuple):
    """A question that was answered: about which invoice, and a hash of all that it says of it."""

    verdict: str
    key: str = ""
    guess: int = 0


# Seconds since the beginning, and what one request asks.
Request = tuple[float, Sequence[Answered]]


class Played(NamedTuple):
    """How many questions were answered, and when a caller became suspect, of what."""

    asked: int
    after: float | None = None
    suspicion: Suspicion | None = None


def tell(trail: Trail, answers: Sequence[Answered], now: float) -> None:
    """What a service tells of one request."""
    absent = [each.key for each in answers if each.verdict == "not_found"]
    differing = [(each.key, each.guess) for each in answers if each.verdict == "mismatch"]
    matched = sum(each.verdict == "match" for each in answers)
    if absent or differing:
        trail.missed(matched + len(absent) + len(differing), absent, differing, now)
    else:
        trail.asked += matched


def play(requests: Iterable[Request], workers: int = 1, seed: int = 0) -> Played:
    """Answer them, at workers drawn by chance, until one of those suspects the caller."""
    drawn, trails = random.Random(seed), [Trail() for _ in range(workers)]
    # What the steady clock says at the beginning, in seconds.
    begin = 1e6
    asked = 0
    for moment, answers in requests:
        trail = drawn.choice(trails)
        tell(trail, answers, begin + moment)
        asked += len(answers)
        if suspicion := trail.suspect(begin + moment):
            return Played(asked, moment, suspicion)
    return Played(asked)


def answered(request: dict[str, Any], verdict: str) -> Answered:
    """A question that gets this verdict, as the service knows it once it is parsed."""
    claim = parse(request, oldest_date(TODAY), TODAY.isoformat())
    if isinstance(claim, Invalid):
        return Answered("invalid")
    said = (claim.date, claim.kind, claim.amount, claim.total, claim.check_code)
    return Answered(verdict, claim.key, hash((*said, claim.seller_tax_id, claim.buyer_tax_id)))


@cache
def pool(name: str, seed: int, count: int) -> tuple[Answered, ...]:
    """What a scenario asks, up to ``count`` different questions."""
    scenario = load(name)
    if scenario.pick != "popular":
        some = msgspec.structs.replace(scenario, distinct=count)
        return tuple(map(_steady, questions.of(some, BOOK, TODAY, seed)))
    ledger = Ledger(BOOK.rows, BOOK.seed, BOOK.until)
    cases = Questions(ledger, count, seed, scenario.mix, scenario.zipf, asked_on=TODAY)
    return tuple(answered(case.request, str(case.expect["verdict"])) for case in cases)


def _steady(question: questions.Question) -> Answered:
    """One whose right answer does not change, and is not ``invalid``."""
    request = msgspec.json.decode(question.body, type=dict[str, str])
    wrong = ("mismatch", ("amount",)), ("mismatch", ("total",)), ("not_found",)
    said = (shown[0] for shown in wrong if question.right(shown, 0.0, 0.0))
    return answered(request, str(next(said, "match")))


def of(scenario: Scenario, share: float, asked: Iterator[Answered], seed: int) -> Iterator[Request]:
    """A scenario at a share of its rates, as open loops arrive; without what feeds the ledger."""
    drawn, moment = random.Random(seed), 0.0
    steps = [Stage("steps", 60, scenario.steps.first)] if scenario.steps else []
    for stage in scenario.stages or steps:
        ends = moment + stage.seconds
        parts = stage.parts or {each.name: each.parts for each in scenario.traffic}
        kinds = [each for each in scenario.traffic if parts.get(each.name)]
        weights = [parts[each.name] for each in kinds]
        while (moment := moment + drawn.expovariate(stage.rate * share)) < ends:
            (kind,) = drawn.choices(kinds, weights)
            if kind.endpoint not in {"change", "feed"}:
                yield moment, tuple(islice(asked, kind.items))
        moment = ends


def evenly(rate: float, seconds: float, answers: Iterable[Answered], items: int = 1) -> Iterator[
    Request
]:  # fmt: skip
    """So many requests a second, all alike."""
    each = iter(answers)
    for number in range(int(rate * seconds)):
        if batch := tuple(islice(each, items)):
            yield number / rate, batch


def row(verdict: str, first: int = 0, step: int = 1, guess: int = 0) -> Iterator[Answered]:
    """Numbers in a row without an end."""
    number = 26_112_000_000_001_000_000 + first
    while True:
        yield Answered(verdict, str(number), guess)
        number += step


def scattered(verdict: str, seed: int) -> Iterator[Answered]:
    """Numbers by chance."""
    drawn = random.Random(seed)
    while True:
        yield Answered(verdict, f"26112{drawn.randrange(10**15):015d}", drawn.getrandbits(60))


def bought(seed: int) -> Iterator[Answered]:
    """Invoices that all differ, of which each third has a neighbour: a seller of many."""
    for each in scattered("mismatch", seed):
        first = int(each.key) & ~1
        yield each._replace(key=str(first))
        yield each._replace(key=str(first + 1))
        yield each._replace(key=str((first * 7 + 3) % 10**20 | 10**19))


def owned(seed: int) -> Iterator[Answered]:
    """A seller's own numbers in a row, of which as many as elsewhere do not match."""
    drawn = random.Random(seed)
    for each in row("match"):
        verdict = drawn.choices(("match", "mismatch", "not_found", "pending"), (90, 5, 3, 2))[0]
        yield each._replace(verdict=verdict, guess=drawn.getrandbits(60))


def tried(seed: int, different: int) -> Iterator[Answered]:
    """One invoice, asked about with as many different guesses over and over."""
    drawn = random.Random(seed)
    key = key_of("011002600111", f"{1 + drawn.randrange(10**7):08d}")
    return cycle([Answered("mismatch", key, drawn.getrandbits(60)) for _ in range(different)])


def _mended(seed: int) -> Iterator[Request]:
    """A batch that is wrong as a whole comes again each minute, each time with another mistake."""
    keys = [each.key for each in islice(scattered("mismatch", seed), 10_000)]
    for again in range(10):
        yield 60.0 * again, [Answered("mismatch", key, hash((key, again))) for key in keys]


# What else honest callers do, by seed.
OTHERS: dict[str, Callable[[int], Iterable[Request]]] = {
    "own numbers in a row, single": lambda seed: evenly(50, 600, owned(seed)),
    "own numbers in a row, batches": lambda seed: evenly(2, 300, owned(seed), 1_000),
    "pending asked for each minute": lambda _: evenly(
        1 / 60, 3_600, cycle(islice(row("pending"), 1_000)), 1_000
    ),
    "pending in a row": lambda _: evenly(100, 300, row("pending")),
    "not found asked for each minute": lambda _: evenly(
        1 / 60, 3_600, cycle(islice(row("not_found"), 500)), 500
    ),
    "not found asked for each 10 s": lambda seed: evenly(
        0.1, 3_600, cycle(tuple(islice(scattered("not_found", seed), 300))), 300
    ),
    "bad batch, scattered": lambda seed: [
        (0.0, tuple(islice(scattered("mismatch", seed), 10_000)))
    ],
    "bad batch, in a row": lambda _: [(0.0, tuple(islice(row("mismatch"), 10_000)))],
    "bad batch, not found": lambda _: [(0.0, tuple(islice(row("not_found"), 10_000)))],
    "bad batch that is mended": _mended,
    "wrong column, 5 a second": lambda seed: evenly(5, 7_200, scattered("mismatch", seed)),
    "wrong column, 50 a second": lambda seed: evenly(50, 3_600, scattered("mismatch", seed)),
    "wrong column, some in a row": lambda seed: evenly(20, 600, bought(seed)),
    "retry loop, mismatch": lambda seed: evenly(20, 3_600, tried(seed, 1)),
    "retry loop of three, mismatch": lambda seed: evenly(20, 3_600, tried(seed, 3)),
    "retry loop, not found": lambda _: evenly(20, 3_600, cycle(islice(row("not_found"), 1))),
    "hardly legible, 12 guesses": lambda seed: evenly(0.5, 600, tried(seed, 12)),
    "booklet that the ledger lacks": lambda _: evenly(0.5, 3_600, row("not_found")),
}


def enumeration(share: float, seed: int) -> Iterator[Request]:
    """The scenario of that name, at a share of its rate."""
    return of(load("enumeration"), share, cycle(pool("enumeration", seed, 40_000)), seed)


# What others do, by seed.
ATTACKS: dict[str, Callable[[int], Iterable[Request]]] = {
    **{f"enumeration x {share}": partial(enumeration, share) for share in SHARES},
    "batches of 500, one in two seconds": lambda seed: evenly(
        0.5, 120, cycle(pool("enumeration", seed, 40_000)), 500
    ),
    "batches of 10,000, one in ten seconds": lambda _: evenly(0.1, 120, row("not_found"), 10_000),
    "in a row, 10 a second": lambda _: evenly(10, 120, row("not_found")),
    "in a row backwards": lambda _: evenly(20, 120, row("not_found", step=-1)),
    "in a row where all are issued": lambda seed: evenly(50, 120, row("mismatch", guess=seed)),
    "by chance": lambda seed: evenly(20, 120, scattered("not_found", seed)),
    "check codes of one, 5 a second": lambda seed: evenly(5, 120, tried(seed, 10_000)),
}


def honest(name: str, share: float, seed: int, most: int, distinct: int) -> Iterator[Request]:
    """An honest scenario, up to about so many questions, of which so many are different."""
    asked = 0
    for request in of(load(name), share, cycle(pool(name, seed, distinct)), seed):
        yield request
        asked += len(request[1])
        if asked >= most:
            return
