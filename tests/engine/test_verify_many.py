"""Many questions at once: each key loaded once, and the same answers as one by one."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.desk import ABSENT, Desk, item_of
from tests.invoice.conformance import CASES, LEDGER
from tests.invoice.samples import DIGITAL, PAPER, Given, Sample, perturbed, samples, seeds
from verifier.engine.loader import Limits
from verifier.engine.verifier import Item
from verifier.invoice.claim import Question
from verifier.invoice.record import Position
from verifier.invoice.verdict import Answer

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


async def test_duplicates_are_hinted_across_a_request() -> None:
    """The hint names the first item of the same invoice, also in an earlier part of a request."""
    desk = Desk(DIGITAL, PAPER)
    seen: dict[str, int] = {}
    first = [DIGITAL.minimal(), {"number": "1"}, PAPER.minimal(), DIGITAL.minimal()]
    second = [{"number": "1"}, PAPER.minimal() | {"total": "1"}, ABSENT.minimal(), ABSENT.full()]
    found: list[Any] = []
    for offset, part in ((0, first), (4, second)):
        items = [item_of(given) for given in part]
        answers = await desk.verifier.verify_many(items, seen=seen, offset=offset)
        found += [
            [hint.first_index for hint in answer.hints if hint.code == "duplicate_in_request"]
            for answer in answers
        ]
    assert found == [[], [], [], [0], [], [2], [], [6]]
    # A stream of any length remembers nothing.
    for answer in await desk.ask_many(*first):
        assert "duplicate_in_request" not in {hint.code for hint in answer.hints}


async def test_bulk_of_any_size_keeps_its_order() -> None:
    """Thousands of items, remembered and not, are answered each in its place."""
    desk = Desk(limits=ROOMY)
    many = [Sample(number=f"2611{serial:016d}") for serial in range(1500)]
    desk.ledger.put(*many[::2])
    for _ in range(2):
        answers = await desk.ask_many(*(sample.minimal() for sample in many))
        assert [answer.key for answer in answers] == [sample.key for sample in many]
        assert [answer.verdict for answer in answers] == ["match", "not_found"] * 750


async def test_bulk_gives_way_to_other_work() -> None:
    """While many items are answered from memory, the loop turns at least every 256 of them."""
    desk = Desk(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    batch = asyncio.get_running_loop().create_task(desk.ask_many(*[DIGITAL.minimal()] * 2560))
    turned = 0
    while not batch.done():
        await asyncio.sleep(0)
        turned += 1
    assert turned >= 10
    assert {answer.source for answer in batch.result()} == {"cache"}


def told(answer: Answer) -> tuple[Any, ...]:
    """What an answer tells, apart from how it was come by."""
    return (
        answer.verdict,
        answer.key,
        answer.reference,
        answer.record,
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
        parsed = [told(await cold.verifier.verify(mapping_of(one))) for one in given]
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
