"""Duplicates of a request are found whatever lies between them, and however they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.desk import Desk, item_of
from tests.invoice.samples import Given, Sample
from verifier.engine import verifier
from verifier.engine.duplicates import Duplicates
from verifier.invoice.verdict import Judgement
from verifier.pacing import Pace, Turns
from verifier.wire.blocks import Answered

# Of twenty invoices the ledger has fifteen, of which memory may know those with even numbers.
SAMPLES = [Sample(number=f"2611{serial:016d}") for serial in range(20)]
KNOWN = SAMPLES[:15]


def untidy(question: Given) -> Given:
    """The same invoice with its number in full-width digits, which has to be repaired."""
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    return question | {"number": question["number"].translate(wide)}


ASKED = st.tuples(st.sampled_from([*range(20), None]), st.booleans())


def one_repeat(count: int, which: int) -> list[tuple[int | None, bool]]:
    """So many different ones, and one of them again."""
    return [*((index, False) for index in range(count)), (which % count, False)]


@contextmanager
def small_blocks() -> Iterator[None]:
    """Loads and blocks of a few items."""
    with (
        mock.patch.object(verifier, "ITEMS_PER_LOAD", 4),
        mock.patch.object(verifier, "ITEMS_PER_BLOCK", 3),
        mock.patch.object(verifier, "HINTED_PER_BLOCK", 2),
        mock.patch.object(verifier, "ANSWERS_PER_BLOCK", 2),
    ):
        yield


# What is drawn at random repeats something early on, and then all is looked at.
ONE_REPEAT = st.builds(one_repeat, st.integers(1, 20), st.integers(0, 19))


@settings(max_examples=300, deadline=None)
@given(st.lists(ASKED, min_size=1, max_size=24) | ONE_REPEAT, st.booleans())
def test_each_repeat_is_told_where_it_came_first(
    asked: list[tuple[int | None, bool]], warm: bool
) -> None:
    """As by a look at all keys before it; loads and blocks are of a few items here."""
    given: list[Given] = []
    expected: dict[int, int] = {}
    first: dict[int, int] = {}
    for index, (which, is_untidy) in enumerate(asked):
        if which is None:
            given.append({"number": "1"})
            continue
        question = SAMPLES[which].minimal()
        given.append(untidy(question) if is_untidy else question)
        if first.setdefault(which, index) != index:
            expected[index] = first[which]

    async def found() -> dict[int, int | None]:
        desk = Desk(*KNOWN)
        if warm:
            await desk.ask_many(*(sample.minimal() for sample in KNOWN[::2]))
        answers = await desk.ask_many(*given, duplicates=True)
        return {
            index: hint.first_index
            for index, answer in enumerate(answers)
            for hint in answer.hints
            if hint.code == "duplicate_in_request"
        }

    with small_blocks():
        assert asyncio.run(found()) == expected


def test_without_a_repeat_looking_for_one_changes_no_block() -> None:
    """Blocks stay as large when memory has the first and the last load, but not one between."""
    known = SAMPLES[:4], SAMPLES[8:12]

    async def sizes(duplicates: bool) -> list[int]:
        desk = Desk(*SAMPLES)
        for samples in known:
            await desk.ask_many(*(sample.minimal() for sample in samples))
        items = [item_of(sample.minimal()) for sample in SAMPLES[:12]]
        blocks = desk.verifier.verify_many(items, duplicates=duplicates, pace=Pace(Turns()))
        return [len(block) async for block in blocks]

    with small_blocks():
        assert asyncio.run(sizes(True)) == asyncio.run(sizes(False))


def test_what_follows_a_repaired_question_may_repeat_it() -> None:
    """One such question is enough: the raw keys do not show the repeat."""
    seen = Duplicates()
    assert not seen.expect(["wide"])
    seen.hint(Answered([Judgement("not_found", "narrow")]))
    assert seen.expect(["narrow"])
