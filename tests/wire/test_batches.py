"""D23, C16: batches whose items cannot be read, and large ones, turn by turn."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Coroutine, Sequence
from time import thread_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.invoice.samples import DIGITAL, PAPER
from verifier.errors import BadRequest
from verifier.invoice.claim import Invalid, Item, Question
from verifier.pacing import Turns
from verifier.wire.batches import read_batch, read_lines
from verifier.wire.questions import decode_one

MAX_ITEM = 65_536
PLAIN = json.dumps(DIGITAL.minimal()).encode()
OTHER = json.dumps(PAPER.minimal()).encode()


def batch(*items: bytes) -> bytes:
    """The body of a batch."""
    return b'{"invoices":[%b]}' % b",".join(items)


def read(body: bytes, max_items: int = 10_000) -> Sequence[Item]:
    """The items of a batch."""
    return asyncio.run(read_batch(body, max_items, MAX_ITEM, Turns()))


# Seconds of this thread that nothing else gets: many times what they take on a quiet machine.
LONGEST_TURN = 0.02


def with_other_work(reading: Coroutine[Any, Any, Sequence[Item]]) -> tuple[Sequence[Item], float]:
    """The items, and the longest time that other work had to wait meanwhile, in CPU seconds.

    Of this thread, and without the collection of what all tests before have left: 90 ms.
    """
    longest = 0.0

    async def other() -> None:
        nonlocal longest
        began = thread_time()
        while True:
            await asyncio.sleep(0)
            now = thread_time()
            longest = max(longest, now - began)
            began = now

    async def work() -> Sequence[Item]:
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        items = await reading
        await asyncio.sleep(0)
        task.cancel()
        return items

    gc.disable()
    try:
        return asyncio.run(work()), longest
    finally:
        gc.enable()


def wrong(item: Item) -> tuple[str, str]:
    """Field and code of the only error."""
    assert isinstance(item, Invalid)
    (error,) = item.errors
    return error.field, error.code


UNREADABLE = {
    "lone surrogate": b'{"reference":"\\ud800"}',
    "lone surrogate as a name": b'{"a\\ud800":1}',
    "two low surrogates": b'{"number":"\\udc00\\udc01"}',
    "deep list": b'{"number":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "no UTF-8": b'{"reference":"\xff\xfe"}',
    "surrogate in UTF-8": b'{"reference":"\xed\xa0\x80"}',
    "no object": b"[]",
    "null": b"null",
}


@pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("copies", [1, 3_000])
def test_d23_an_item_that_cannot_be_read_is_alone_in_that(
    odd: bytes, place: int, copies: int
) -> None:
    """It is a malformed item, and the others are read, in a small batch and in a large one."""
    items = [PLAIN, OTHER]
    items.insert(place, odd)
    got = read(batch(*([PLAIN] * (copies - 1)), *items))
    assert wrong(got[copies - 1 + place]) == ("", "bad_format")
    assert [type(item) for item in got].count(Question) == copies + 1


def test_d23_lines_and_items_that_cannot_be_read_are_the_same() -> None:
    """A stream says of such a line what a batch says of such an item."""
    lines = asyncio.run(read_lines(b"\n".join([PLAIN, *UNREADABLE.values()]), Turns()))
    assert list(lines) == list(read(batch(PLAIN, *UNREADABLE.values())))


def test_d23_an_integer_of_thousands_of_digits_is_out_of_range() -> None:
    """It is JSON, and no number that anybody has to take."""
    assert wrong(read(batch(PLAIN, b'{"total":%b}' % (b"9" * 50_000)))[1]) == ("", "out_of_range")


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"number":nonsense}',
        b'{"number":"1"',
        b'{"number":"1"]',
        b'{"number":1}}',
        b'{"number":"\x01"}',
        b'{"number":"\\q"}',
        b'{"number":"\\ud800" x}',
        b'{"number":NaN}',
        b"{} {}",
        b"",
        b" ",
        b"]",
        b'"',
        b"[" * 100_000,
        b'{"number":1,}',
    ],
)
@pytest.mark.parametrize("copies", [1, 3_000])
def test_d23_a_body_that_is_no_json_fails_as_a_whole(garbage: bytes, copies: int) -> None:
    """What is no JSON even with the kindest reader leaves nothing to be sure of."""
    with pytest.raises(BadRequest) as raised:
        read(batch(*[PLAIN] * copies, garbage, PLAIN))
    assert raised.value.code in ("malformed_json", "malformed_batch")
    if copies == 1:
        assert raised.value.code == "malformed_json"


@pytest.mark.parametrize("copies", [1, 3_000])
@pytest.mark.parametrize("odd", [b"{}", b'{"total":1}'])
def test_d23_a_body_that_is_cut_off_fails_as_a_whole(odd: bytes, copies: int) -> None:
    """Wherever it is cut, no part of a batch is answered."""
    body = batch(*[PLAIN] * copies, odd)
    for end in {*range(1, 30), len(body) // 2, *range(len(body) - 30, len(body))}:
        with pytest.raises(BadRequest):
            read(body[:end])


_items = st.sampled_from(
    [
        PLAIN,
        OTHER,
        b"{}",
        b'{"total":1}',
        b'{"reference":"},{"}',
        b'{"reference":"}]}"}',
        b'{"reference":"\\"},{\\""}',
        b'{"reference":"\\\\"}',
        b'{"x":{"y":[{},{}]}}',
        b'{"x":[[],[1,2]],"y":"]"}',
        b'{"number":"1","number":"2"}',
        b"5",
        b'"},{"',
        b"[1,2]",
        *list(UNREADABLE.values())[:3],
    ]
)
_gaps = st.sampled_from([b",", b", ", b" ,\n\t", b"\r\n,"])


@settings(max_examples=60)
@given(st.lists(st.tuples(_items, _gaps), min_size=1, max_size=30), st.integers(1, 400))
def test_c16_a_large_batch_is_read_as_each_item_is(
    drawn: list[tuple[bytes, bytes]], times: int
) -> None:
    """However a batch is cut into pieces, its items are those that are read one by one."""
    text = b"".join([item + gap for item, gap in drawn] * times)
    last = drawn[-1][1]
    body = b' {"invoices" :[ ' + text[: -len(last)] + b" ] } \n"
    alone = [read(batch(item))[0] for item, _ in drawn]
    assert list(read(body, 30_000)) == alone * times


FLAT = b"{%b}" % b",".join(b'"k%d":1' % number for number in range(630_000))
HUGE = {
    "630,000 unknown fields": FLAT,
    "one field 630,000 times": b"{%b}" % b",".join([b'"number":"1"'] * 630_000),
    "a long text": b'{"reference":"%b"}' % (b"x" * 8_000_000),
    "a long text of escapes": b'{"reference":"%b"}' % (b"\\n" * 4_000_000),
    "nested": b'{"a":[%b]}' % b",".join([b"[[]]"] * 1_000_000),
    "deep": b'{"a":' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"}",
    "white space": b"{%b}" % (b" " * 8_000_000),
}


@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
def test_c16_an_item_that_is_too_long_is_passed_over(huge: bytes) -> None:
    """One error for it, the others are read, and other work goes on all the while."""
    got, longest = with_other_work(read_batch(batch(PLAIN, huge, OTHER), 10_000, MAX_ITEM, Turns()))
    assert wrong(got[1]) == ("", "bad_length")
    assert [type(item) for item in got] == [Question, Invalid, Question]
    assert longest < LONGEST_TURN


@pytest.mark.parametrize(
    "item",
    [
        b'{"x":[%b]}' % b",".join([b"[]"] * 3_000),
        b"{%b}" % b",".join([b'"number":"1"'] * 3_000),
        b"[%b]" % b",".join([b"{}"] * 3_000),
    ],
)
def test_c16_an_item_with_more_in_it_than_any_has_is_not_looked_into(item: bytes) -> None:
    """Thousands of lists, or of members with few names, are one error."""
    got = read(batch(PLAIN, item))
    assert (wrong(got[1]), type(got[0])) == (("", "bad_format"), Question)


def test_c16_what_is_nested_in_an_item_is_not_kept() -> None:
    """Ten thousand items of nested lists take no more room than their fields do."""
    (item,) = read(batch(b'{"number":[[[1,2,3]]],"x":{"y":[]}}'))
    assert item == {"number": (), "x": ()}


@pytest.mark.parametrize("item", [b"{}", b'{"a":1}', b"5", b"[]"])
def test_c16_too_many_items_are_refused_before_all_are_read(item: bytes) -> None:
    """Of megabytes of tiny items no more are made than a batch may have, and a piece more."""
    with pytest.raises(BadRequest) as raised:
        read(batch(*[item] * 1_000_000), 100)
    assert raised.value.code == "too_many_items"


# Blocks of lines that are decoded in several pieces, each of which ends with a line.
LARGE_BLOCKS = {
    "plain": [PLAIN, OTHER] * 2_000,
    "odd lines": [*[PLAIN] * 3_000, *UNREADABLE.values(), *[OTHER] * 3_000, b"{", PLAIN],
    "blank lines": [b"", *[PLAIN, b"", b" "] * 2_000, b"", b""],
    "only blank lines": [b""] * 300_000,
    "one line longer than a piece": [b'{"reference":"%b"}' % (b"x" * 200_000)],
    "long lines": [PLAIN, *[b'{"reference":"%b"}' % (b"x" * 200_000), OTHER] * 3],
    "lines of half a piece": [b'{"reference":"%b"}' % (b"x" * 65_536)] * 5,
}


@pytest.mark.parametrize("lines", LARGE_BLOCKS.values(), ids=LARGE_BLOCKS)
def test_a_large_block_of_lines_is_read_as_each_line_is(lines: list[bytes]) -> None:
    """No line is lost, doubled or cut where a block is taken apart."""
    read = asyncio.run(read_lines(b"\n".join(lines), Turns()))
    assert read == [decode_one(line) for line in lines if line.strip()]


def test_a_large_block_of_plain_lines_is_decoded_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fast client's lines are not taken one by one, for twice the time."""
    monkeypatch.setattr("verifier.wire.questions.decode_one", None)
    assert len(asyncio.run(read_lines(b"\n".join([PLAIN] * 9_000), Turns()))) == 9_000


def test_c16_lines_that_take_long_give_way() -> None:
    """A block of lines that have to be read one by one lets other work go on in between."""
    items, longest = with_other_work(read_lines(b'{"a":1}\n' * 16_000, Turns()))
    assert len(items) == 16_000
    assert longest < LONGEST_TURN


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"invoices":[{"number":"1"},]}', "trailing comma in array (byte 28)"),
        (b'{"invoices":[{"number":"1"},{"number":x}]}', "(byte 38)"),
        (batch(*[PLAIN] * 3_000, b'{"number":x}'), "invoices[3000]: "),
        (batch(*[PLAIN] * 3_000, b""), "invoices[3000]: expected an item"),
    ],
    ids=["a comma too many", "an item", "an item of many", "a comma too many of many"],
)
def test_what_is_no_json_is_told_with_its_place(body: bytes, said: str) -> None:
    """By its byte in a small body, by its item in a large one."""
    with pytest.raises(BadRequest) as raised:
        read(body)
    assert said in raised.value.detail
