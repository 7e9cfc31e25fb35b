"""What scenarios ask, and what they expect."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import product

import msgspec

from loadtests import questions
from loadtests.questions import Book, Question
from loadtests.scenario import Scenario, Traffic
from verifier.invoice.kinds import STATUSES
from verifier.synthetic.ledger import Ledger

TODAY = date(2026, 11, 29)
BOOK = Book(2_000, 1, TODAY)
ONE = Scenario("test", "a test", [Traffic("single", "single", 1)], distinct=400)


def verdict(question: Question) -> str:
    """The verdict that a question expects, of those that say no more."""
    plain = ("not_found", "pending")
    return next((each for each in plain if question.right((each,), 0.0, 0.0)), "other")


def test_the_mix_is_the_scenarios() -> None:
    """Half not_found, half pending."""
    mixed = msgspec.structs.replace(ONE, mix={"not_found": 1, "pending": 1})
    found = Counter(map(verdict, questions.of(mixed, BOOK, TODAY, 0)))
    assert found.keys() == {"not_found", "pending"}
    assert abs(found["pending"] - 200) < 60


def test_another_seed_asks_others() -> None:
    """Two generators do not ask the same."""
    one, two = (questions.of(ONE, BOOK, TODAY, seed) for seed in (0, 1))
    assert sum(a.body == b.body for a, b in zip(one, two, strict=True)) < 40


def test_one_invoice_is_asked_about_by_everybody() -> None:
    """``pick="one"`` has one question, and it expects a match."""
    (question,) = questions.of(msgspec.structs.replace(ONE, pick="one"), BOOK, TODAY, 0)
    assert not question.right(("not_found",), 0.0, 0.0)
    assert any(
        question.right(("match", status, usable), 0.0, 0.0)
        for status, usable in product(STATUSES, (True, False))
    )


def test_guesses_are_about_nothing_that_there_is() -> None:
    """Numbers in a row that the ledger lacks, and amounts in a row of one invoice that it has."""
    asked = questions.of(msgspec.structs.replace(ONE, pick="invented"), BOOK, TODAY, 3)
    ledger = Ledger(BOOK.rows, BOOK.seed, BOOK.until)
    held = {ledger.invoice(row).number for row in range(BOOK.rows)}
    numbers = [msgspec.json.decode(question.body)["number"] for question in asked]
    absent = [
        n for n, question in zip(numbers, asked, strict=True) if verdict(question) == "not_found"
    ]
    assert len(absent) == len(set(absent)) == 200
    assert not held & set(absent)
    others = set(numbers) - set(absent)
    assert len(others) == 1
    assert others <= held
    totals = {msgspec.json.decode(q.body).get("total") for q in asked if verdict(q) == "other"}
    assert len(totals) == 200
