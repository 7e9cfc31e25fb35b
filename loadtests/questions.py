"""What is asked, and what each question must get: from a synthetic ledger that the service holds.

A question is the body of a single request; batches and streams are made of the same ones. What an
answer must show is compared as a value, ``Shown``: the verdict and what the ledger decides of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from itertools import count, islice
from typing import Any

import msgspec

from loadtests.scenario import Scenario
from verifier.synthetic.ledger import Entry, Ledger
from verifier.synthetic.questions import Questions
from verifier.synthetic.shapes import minimal, money_field


class Book(msgspec.Struct, frozen=True):
    """The ledger that the service holds, as ``verifier ledger generate`` makes it."""

    rows: int
    seed: int
    until: date


class _Error(msgspec.Struct, frozen=True):
    field: str
    code: str


class Answer(msgspec.Struct, frozen=True):
    """Of a result, or of a problem document, what is checked."""

    verdict: str = ""
    # Of a match, the invoice's; of a problem document, HTTP's.
    status: str | int = ""
    usable: bool | None = None
    mismatched: tuple[str, ...] = ()
    errors: tuple[_Error, ...] = ()
    code: str = ""
    reason: str = ""


Shown = tuple[Any, ...]
# Whether what an answer shows is right, by when its question was sent and it was received: seconds
# of the monotonic clock. What changes meanwhile has more than one right answer.
Right = Callable[[Shown, float, float], bool]


class Question(msgspec.Struct, frozen=True, gc=False):
    """One question: its JSON, and which answers are right."""

    body: bytes
    right: Right


def shown(answer: Answer) -> Shown:
    """What an answer says of the ledger and of the question."""
    verdict = answer.verdict or answer.code
    if verdict == "match":
        return verdict, answer.status, answer.usable
    if verdict == "mismatch":
        return verdict, answer.mismatched
    if verdict == "invalid":
        return verdict, tuple(sorted((each.field, each.code) for each in answer.errors))
    return (verdict,)


def expected(expect: Mapping[str, Any]) -> Shown:
    """What the answer to a case of the conformance set's form shows."""
    verdict = expect["verdict"]
    if verdict == "match":
        return verdict, expect["status"], expect["usable"]
    if verdict == "mismatch":
        return verdict, tuple(expect["mismatched"])
    if verdict == "invalid":
        return verdict, tuple(sorted(tuple(error) for error in expect["errors"]))
    return (verdict,)


def steady(request: Mapping[str, str], wanted: Shown) -> Question:
    """A question about what does not change while it is asked."""
    return Question(msgspec.json.encode(request), lambda said, _sent, _received: said == wanted)


def of(scenario: Scenario, book: Book, today: date, seed: int) -> list[Question]:
    """What a scenario asks; another ``seed`` asks others about the same ledger.

    ``today`` is the day of asking, in Shanghai. ValueError says which argument cannot be used.
    """
    ledger = Ledger(book.rows, book.seed, book.until)
    if scenario.pick == "invented":
        return list(islice(_guesses(ledger, today, seed), scenario.distinct))
    if scenario.pick == "one":
        one = next(iter(Questions(ledger, 1, seed, {"match": 1}, asked_on=today)))
        return [steady(one.request, expected(one.expect))]
    cases = Questions(ledger, scenario.distinct, seed, scenario.mix, scenario.zipf, asked_on=today)
    return [steady(case.request, expected(case.expect)) for case in cases]


def _guesses(ledger: Ledger, today: date, seed: int) -> Iterator[Question]:
    """As somebody asks who guesses: numbers in a row, and amounts in a row of one real invoice."""
    known = _guessable(ledger, today, seed)
    money = money_field(known)
    fen = int(known.total.replace(".", ""))
    # The channel, a number's fifth digit, is at most 7 in a synthetic ledger: nobody has these.
    stem = f"{known.number[:4]}8"
    for step in count(1):
        invented = {"number": f"{stem}{seed * 10**9 + step:015d}", "date": known.date}
        yield steady({**invented, "total": known.total}, ("not_found",))
        guess = f"{(fen + step) // 100}.{(fen + step) % 100:02d}"
        yield steady({**minimal(known), money: guess}, ("mismatch", (money,)))


def _guessable(ledger: Ledger, today: date, seed: int) -> Entry:
    """A 数电 invoice whose region is complete by now, so that what it lacks is not_found."""
    settled = (today - timedelta(days=2)).isoformat()
    for row in range(seed % ledger.rows, ledger.rows):
        invoice = ledger.invoice(row)
        if len(invoice.number) == 20 and invoice.status == "normal" and invoice.date <= settled:
            return invoice
    raise ValueError(f"rows: expected a ledger with a 数电 invoice, got one of {ledger.rows}")
