"""Many questions at once: each key loaded once, and the same answers as one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.desk import ABSENT, Desk, item_of
from tests.invoice.conformance import CASES, LEDGER
from tests.invoice.samples import DIGITAL, PAPER, Given, Sample, perturbed, samples, seeds, told_by
from verifier.engine.freshness import Terms
from verifier.engine.lanes import Limits
from verifier.engine.verifier import HINTED_PER_BLOCK, ITEMS_PER_BLOCK, ITEMS_PER_LOAD
from verifier.invoice.claim import Item, Question
from verifier.invoice.hints import Hint
from verifier.invoice.verdict import Judgement
from verifier.pacing import Pace, Turns
from verifier.state import Position

ROOMY = Limits(slots=2, max_batch=128, waiting_singles=5000, waiting_bulk=5000, max_wait=1.0)


async def test_a_batch_loads_each_distinct_key_once() -> None:
    """Repeated and known invoices cost no read; the rest share queries."""
    desk = Desk(DIGITAL, PAPER)
    await desk.ask(PAPER.minimal())
    desk.ledger.reads.clear()
    others = [Sample(number=f"2611200000000000001{digit}") for digit in range(5)]
    given = [
        DIGITAL.minimal(),
        PAPER.minimal(),
        *(sample.minimal() for sample in others),
        DIGITAL.minimal() | {"total": 113},
        {"number": "1"},
        DIGITAL.full(),
    ]
    answers = await desk.ask_many(*given)
    keys = [DIGITAL.key, *(sample.key for sample in others)]
    assert desk.ledger.reads == [keys[:4], keys[4:]]
    assert [answer.verdict for answer in answers] == [
        "match", "match", *["not_found"] * 5, "match", "invalid", "match",
    ]  # fmt: skip
    assert [answers[index].source for index in (0, 1, 7, 9)] == [
        "replica", "cache", "replica", "replica",
    ]  # fmt: skip


@pytest.mark.parametrize("between", [0, ITEMS_PER_BLOCK, 3 * ITEMS_PER_LOAD])
@pytest.mark.parametrize("warm", [False, True])
async def test_duplicates_are_hinted_across_a_request(between: int, warm: bool) -> None:
    """The hint names the first item of the same invoice, however far away that is."""
    desk = Desk(DIGITAL, PAPER, limits=ROOMY)
    others = [Sample(number=f"2611{serial:016d}").minimal() for serial in range(between)]
    first = [DIGITAL.minimal(), {"number": "1"}, PAPER.minimal(), DIGITAL.minimal()]
    second = [{"number": "1"}, PAPER.minimal() | {"total": "1"}, ABSENT.minimal(), ABSENT.full()]
    given = [*first, *others, *second]
    if warm:
        await desk.ask_many(*given)
    at = len(first) + between
    expected = {3: 0, at + 1: 2, at + 3: at + 2}
    for duplicates in (True, False):
        answers = await desk.ask_many(*given, duplicates=duplicates)
        assert [answer.verdict for answer in answers[at:]] == [
            "invalid", "mismatch", "not_found", "not_found",
        ]  # fmt: skip
        found = {
            index: hint.first_index
            for index, answer in enumerate(answers)
            for hint in answer.hints
            if hint.code == "duplicate_in_request"
        }
        assert found == (expected if duplicates else {})


async def test_bulk_of_any_size_keeps_its_order() -> None:
    """Thousands of items, remembered and not, are answered each in its place."""
    desk = Desk(limits=ROOMY)
    many = [Sample(number=f"2611{serial:016d}") for serial in range(1500)]
    desk.ledger.put(*many[::2])
    for _ in range(2):
        answers = await desk.ask_many(*(sample.minimal() for sample in many))
        assert [answer.key for answer in answers] == [sample.key for sample in many]
        assert [answer.verdict for answer in answers] == ["match", "not_found"] * 750


async def test_duplicates_among_what_memory_knows() -> None:
    """Matches from memory are told so too, and what they say is the same apart from the hint."""
    desk = Desk(DIGITAL, PAPER)
    given = [DIGITAL.minimal(), PAPER.minimal(), DIGITAL.minimal() | {"reference": "r"}]
    await desk.ask_many(*given)
    answers = await desk.ask_many(*given, duplicates=True)
    assert [answer.source for answer in answers] == ["cache"] * 3
    assert [answer.hints for answer in answers] == [
        (),
        (),
        (Hint("duplicate_in_request", "number", 0),),
    ]
    assert told_by(answers[2].record) == told_by(DIGITAL.record())
    assert answers[2].reference == "r"


async def test_what_memory_knows_waits_for_nothing() -> None:
    """Blocks that memory matches are there while a later one is still being loaded."""
    desk = Desk(DIGITAL, PAPER)
    await desk.ask(DIGITAL.minimal())
    given = [DIGITAL.minimal()] * 2 * ITEMS_PER_BLOCK
    blocks = desk.verifier.verify_many(
        [item_of(one) for one in (*given, PAPER.minimal())], pace=Pace(Turns())
    )
    assert [len((await anext(blocks)).answers) for _ in range(2)] == [ITEMS_PER_BLOCK] * 2
    assert desk.ledger.reads == [[DIGITAL.key]]
    assert [answer.source for answer in (await anext(blocks)).answers] == ["replica"]
    assert [block async for block in blocks] == []


async def test_what_has_hints_comes_in_smaller_blocks() -> None:
    """What memory knows and a batch repeats takes longer to encode than what it asks once."""
    desk = Desk(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    items = [item_of(DIGITAL.minimal())] * 2 * ITEMS_PER_BLOCK
    blocks = [
        block
        async for block in desk.verifier.verify_many(items, duplicates=True, pace=Pace(Turns()))
    ]
    assert max(len(block.answers) for block in blocks) == HINTED_PER_BLOCK
    answers = [answer for block in blocks for answer in block.answers]
    repeated = Hint("duplicate_in_request", "number", 0)
    assert [answer.hints for answer in answers] == [(), *[(repeated,)] * (len(items) - 1)]


class Giving(Pace):
    """Notes at each chance to give way how much has been done since the one before."""

    def __init__(self, done: Callable[[], int]) -> None:
        super().__init__(Turns())
        self._done = done
        self._before = 0
        self.most = 0

    async def give_way(self) -> None:
        """Note it."""
        done = self._done()
        self.most = max(self.most, done - self._before)
        self._before = done


@pytest.mark.parametrize(
    ("step", "given"),
    [
        ("look_closer", [DIGITAL.minimal() | {"total": 113}] * 1000),
        ("conclude", [Sample(number=f"2611{n:016d}").minimal() for n in range(1000)]),
    ],
)
async def test_bulk_may_give_way_after_a_few_items(
    step: str, given: list[Given], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they have to be parsed, or are judged after their load."""
    desk = Desk(DIGITAL, limits=ROOMY)
    desk.ledger.put(*(Sample(number=f"2611{n:016d}") for n in range(1000)))
    done = 0
    take = getattr(desk.verifier._steps, step)

    def counting(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        return take(*arguments)

    monkeypatch.setattr(desk.verifier._steps, step, counting)
    pace = Giving(lambda: done)
    items = [item_of(one) for one in given]
    async for _ in desk.verifier.verify_many(items, pace=pace):
        pass
    assert done == 1000
    assert 0 < pace.most <= 25


async def test_bulk_gives_way_between_blocks_that_wait_for_a_load() -> None:
    """What memory was asked for is no reason to keep others waiting."""
    desk = Desk(limits=ROOMY)
    given = [item_of(Sample(number=f"2611{n:016d}").minimal()) for n in range(ITEMS_PER_LOAD)]
    recalled = 0
    recall = desk.memory.recall

    def counting(keys: Sequence[str], terms: Terms) -> Any:
        nonlocal recalled
        recalled += len(keys)
        return recall(keys, terms)

    desk.memory.recall = counting  # type: ignore[method-assign]
    pace = Giving(lambda: recalled)
    async for _ in desk.verifier.verify_many(given, pace=pace):
        pass
    assert 0 < pace.most <= ITEMS_PER_BLOCK


def told(answer: Judgement) -> tuple[Any, ...]:
    """What an answer tells, apart from how it was come by."""
    return (
        answer.verdict,
        answer.key,
        answer.reference,
        answer.record and answer.record.members,
        answer.mismatched,
        answer.errors,
        answer.hints,
        answer.retry_after,
        answer.reason,
    )


@settings(max_examples=60)
@given(st.lists(samples(), min_size=1, max_size=3), seeds)
def test_one_by_one_and_many_say_the_same(invoices: list[Sample], seed: int) -> None:
    """However it is asked - alone, in bulk, from memory, parsed - a question has one answer."""
    random = Random(seed)
    given = [perturbed(random, random.choice(invoices)) for _ in range(30)]

    async def answers() -> None:
        cold, warm = Desk(*invoices), Desk(*invoices)
        for desk in (cold, warm):
            for known in invoices[:-1]:  # the last one stays unknown to the ledger
                desk.ledger.put(known)
            desk.ledger.records.pop(invoices[-1].key)
        singles = [told(await cold.ask(one)) for one in given]
        for _ in range(2):
            assert [told(answer) for answer in await warm.ask_many(*given)] == singles
        again = [told(await cold.ask(one)) for one in given]
        later = Position(1, warm.ledger.lsn + 1)
        fresh = [told(await warm.ask(one, at_least=later)) for one in given]
        # As a mapping a question takes no short cut, neither to its key nor to its verdict.
        parsed = [told((await cold.verifier.verify(mapping_of(one))).hinted()) for one in given]
        assert again == fresh == parsed == singles

    asyncio.run(answers())


def mapping_of(given: Given) -> Item:
    """The members of a question, as the decoder gives them when they do not fit."""
    item = item_of(given)
    if not isinstance(item, Question):
        return item
    return {name: getattr(item, name) for name in item.__struct_fields__}


async def test_the_conformance_set_is_answered_alike() -> None:
    """Each case has its expected verdict alone and in bulk, from the ledger and from memory."""
    desk = Desk(limits=ROOMY)
    desk.ledger.records = dict(LEDGER)
    requests = [case["request"] for case in CASES]
    expected = [case["expect"]["verdict"] for case in CASES]
    for _ in range(2):
        assert [(await desk.ask(given)).verdict for given in requests] == expected
        assert [answer.verdict for answer in await desk.ask_many(*requests)] == expected
