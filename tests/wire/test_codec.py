"""Bytes to questions: exact, strict, and never more than one result too few or too many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.invoice.samples import DIGITAL, PAPER, WINDOW, Given, questions
from verifier.errors import BadRequest
from verifier.invoice.claim import Claim, Invalid, Item, Question
from verifier.invoice.parsing import parse
from verifier.pacing import Turns
from verifier.wire.batches import read_batch, read_lines
from verifier.wire.questions import decode_question, too_long

SURROGATES = [b'{"number":"\\ud800"}', b'{"reference":"\\udc00\\ud800"}', b'{"a\\ud800":1}']
NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"nonsense",
    b'{"number":1.}',
    b'{"amount":NaN}',
    b'{"amount":+1}',
    b'{"number":"1",}',
    b"{} {}",
    b"{}{}",
    b"\xff",
    b'{"number":"\xff"}',
    b'{"number":"\xed\xa0\x80"}',
    b'{"reference":"\x00"}',
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    *SURROGATES,
]
NO_OBJECT = [b"null", b"[]", b'[{"number":"1"}]', b'"text"', b"5", b"true", b"1e5"]


MAX_ITEM = 65_536


def decode_batch(body: bytes, max_items: int, max_item: int = MAX_ITEM) -> Sequence[Item]:
    """The items of a batch."""
    return asyncio.run(read_batch(body, max_items, max_item, Turns()))


def decode_lines(block: bytes) -> Sequence[Item]:
    """The items of lines."""
    return asyncio.run(read_lines(block, Turns()))


def members(item: Item) -> Given:
    """The members that a question has, however it was decoded."""
    assert not isinstance(item, Invalid), item
    if isinstance(item, Question):
        return {name: getattr(item, name) for name in item.__struct_fields__}
    return dict(item)


def kinds(items: Sequence[Item]) -> list[str]:
    """What became of each item."""
    names: dict[type, str] = {Invalid: "invalid", Question: "question"}
    return [names.get(type(item), "mapping") for item in items]


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:24]))
def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    """A body that cannot be read fails as a whole, with the code for it."""
    with pytest.raises(BadRequest) as raised:
        decode_question(body)
    assert raised.value.code == "malformed_json"
    with pytest.raises(BadRequest):
        decode_batch(b'{"invoices":[{},' + body, 10)


@pytest.mark.parametrize("body", NO_OBJECT)
def test_what_is_no_object_is_invalid(body: bytes) -> None:
    """JSON that is no object is a malformed question, not a malformed request."""
    item = decode_question(body)
    assert isinstance(item, Invalid)
    assert [(error.field, error.code) for error in item.errors] == [("", "bad_format")]


@pytest.mark.parametrize(
    ("number", "total"),
    [
        ("113", "113.00"),
        ("113.0", "113.00"),
        ("113.00", "113.00"),
        ("0.1", "0.10"),
        ("-0", "0.00"),
        ("-0.0", "0.00"),
        ("12345678901.23", "12345678901.23"),
        ("-12345678901.23", "-12345678901.23"),
        ("90071992547.41", "90071992547.41"),
        ("1e2", "100.00"),
        ("1.5E+1", "15.00"),
        ("1E-2", "0.01"),
        ("0.001", "bad_format"),
        ("113.000000000000000000000000000000000001", "bad_format"),
        ("123456789012", "out_of_range"),
        ("1E+999999999", "out_of_range"),
        ("1E-999999999", "out_of_range"),
        ("1e99999999999999999999", "out_of_range"),  # beyond what Decimal can hold
        ("1e-99999999999999999999", "out_of_range"),
        ("9" * 4000, "out_of_range"),
        ("18446744073709551616", "out_of_range"),
    ],
)
def test_json_numbers_are_taken_exactly(number: str, total: str) -> None:
    """An amount never passes through a float, whatever its size or precision."""
    given: dict[str, str] = DIGITAL.minimal()
    given.pop("total")
    body = json.dumps(given)[:-1] + f',"total":{number}}}'
    for item in (
        decode_question(body.encode()),
        *decode_lines(body.encode()),
        *decode_batch(f'{{"invoices":[{body}]}}'.encode(), 1),
    ):
        parsed = parse(members(item), WINDOW.oldest, WINDOW.today)
        got = parsed.total if isinstance(parsed, Claim) else parsed.errors[0].code
        assert got == total


def test_an_integer_beyond_reading_is_out_of_range() -> None:
    """A number of thousands of digits is JSON, and invalid in all three endpoints."""
    body = b'{"amount":%b}' % (b"9" * 5000)
    for item in (
        decode_question(body),
        *decode_lines(body),
        *decode_batch(b'{"invoices":[%b]}' % body, 1),
    ):
        assert isinstance(item, Invalid)
        assert item.errors[0].code == "out_of_range"


_plain = msgspec.json.Encoder(decimal_format="number")


@given(questions)
def test_whatever_the_members_they_come_through(given: Given) -> None:
    """A question decodes to its members, numbers exactly; absent ones may be None."""
    item = decode_question(_plain.encode(given))
    if isinstance(item, Invalid):  # an integer of thousands of digits
        return
    got = {name: value for name, value in members(item).items() if value is not None}
    # What is nested fits nowhere, so that nothing of it is kept.
    assert got == {
        name: () if isinstance(value, list | dict) else value
        for name, value in given.items()
        if value is not None
    }


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (b'{"number":"1","total":"113"}', True),
        (b'{"number":"1","total":null}', True),
        (b'{"number":"1","total":113}', False),
        (b'{"number":"1","chek_code":"1"}', False),
        (b'{"number":1}', False),
        (b'{"number":"a\\u0000"}', False),
        (b'{"number":"1","number":"1"}', False),
        (b'{"reference":"%b"}' % (b"x" * 128), True),
        (b'{"reference":"%b"}' % (b"x" * 129), False),
        (b'{"reference":"%s"}' % ("发" * 128).encode(), True),
    ],
)
def test_a_question_that_fits_is_decoded_at_once(body: bytes, fits: bool) -> None:
    """Only what is no plain question is decoded once more, for the parser to judge."""
    assert isinstance(decode_question(body), Question) is fits


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"invoices":[]}', "malformed_batch"),
        (b"{}", "malformed_batch"),
        (b"[]", "malformed_batch"),
        (b"null", "malformed_batch"),
        (b'{"invoices":{}}', "malformed_batch"),
        (b'{"invoices":null}', "malformed_batch"),
        (b'{"invoices":[{}],"x":1}', "malformed_batch"),
        (b'{"invoices":[{}]', "malformed_json"),
        (b'{"invoices":[{},]}', "malformed_json"),
        (b'{"invoices":[{},' + b"[" * 50_000, "malformed_json"),
        (b'{"invoices":[{},{},{},{}]}', "too_many_items"),
        (b'{"invoices":[{},{},{},5]}', "too_many_items"),
        (b'{"invoices":[%b]}' % b",".join([b"5"] * 1000), "too_many_items"),
    ],
)
def test_a_batch_fails_as_a_whole_only_for_its_own_form(body: bytes, code: str) -> None:
    """Unreadable JSON, another shape, or too many items are the request's fault."""
    with pytest.raises(BadRequest) as raised:
        decode_batch(body, 3)
    assert raised.value.code == code


ODD = [
    (b'{"total":113}', "mapping"),
    (b'{"total":1e99999999999999999999}', "mapping"),
    (b'{"chek_code":"1"}', "mapping"),
    (b'{"number":[[[[1]]]]}', "mapping"),
    (b'{"invoices":[{}]}', "mapping"),
    (b'{"number":"\xff"}', "invalid"),
    (b'{"total":%b}' % (b"9" * 5000), "invalid"),
    *((body, "invalid") for body in NO_OBJECT),
]


@pytest.mark.parametrize(("odd", "kind"), ODD, ids=lambda value: repr(value[:20]))
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_odd_item_leaves_the_others_as_they_are(odd: bytes, kind: str, place: int) -> None:
    """One item that does not fit is treated alone, in its place; the others are read in full."""
    bodies = [json.dumps(sample.minimal()).encode() for sample in (DIGITAL, PAPER)]
    bodies.insert(place, odd)
    expected = ["question", "question"]
    expected.insert(place, kind)
    for items in (
        decode_batch(b'{"invoices":[%b]}' % b" , ".join(bodies), 3),
        decode_lines(b"\n".join(bodies)),
    ):
        assert kinds(items) == expected
        assert [item.number for item in items if isinstance(item, Question)] == [
            DIGITAL.number,
            PAPER.number,
        ]


LINE = b'{"number":"1"}'


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"", []),
        (b"\n", []),
        (b" \r\n\t\n\r\n", []),
        (LINE, ["question"]),
        (LINE + b"\n", ["question"]),
        (LINE + b"\r\n" + LINE + b"\r\n", ["question"] * 2),
        (b"\n\n" + LINE + b"\n \n" + LINE + b"\n\r\n", ["question"] * 2),
        (b"\xef\xbb\xbf" + LINE + b"\n" + LINE, ["invalid", "question"]),
        (LINE + b"\nnonsense\n" + LINE, ["question", "invalid", "question"]),
        (LINE + b" " + LINE + b"\n" + LINE, ["invalid", "question"]),  # two on a line
        (LINE + LINE, ["invalid"]),
        (LINE + b"," + LINE, ["invalid"]),
        (LINE + b"\r" + LINE, ["invalid"]),
        (b'{"number":\n"1"}\n' + LINE, ["invalid", "invalid", "question"]),  # one on two lines
        (b'{"number":"1\n2"}', ["invalid", "invalid"]),
        (b'{"number":\n"1"}\n' + LINE + b" " + LINE, ["invalid", "invalid", "invalid"]),
        # As many objects as lines, but not one on each.
        (b'{"number":"1}\n{2"}\n' + LINE + b"," + LINE, ["invalid"] * 3),
        (b'{"number":"1",\n"date":"2"}\n' + LINE + b"," + LINE, ["invalid"] * 3),
        (b'{"number":"1"\n{}\n' + LINE + b"," + LINE, ["invalid", "question", "invalid"]),
        (b"\n".join([*SURROGATES, LINE]), ["invalid"] * 3 + ["question"]),
        (b"[" * 50_000 + b"\n" + LINE, ["invalid", "question"]),
        (b"null\n[]\n" + LINE, ["invalid", "invalid", "question"]),
    ],
)
def test_each_line_is_one_item(block: bytes, expected: list[str]) -> None:
    """Blank lines are passed over; every other line is one item, whatever it holds."""
    assert kinds(decode_lines(block)) == expected


_pieces = st.sampled_from(
    [LINE, b"{}", b'{"total":1}', b"\n", b"\r\n", b" ", b"\r", b",", b"[", b'"', b"\xff", b"null"]
)


@given(st.lists(_pieces | st.binary(max_size=4)).map(b"".join))
@example(b'{"number":\n"1"} {}\n')
def test_lines_and_items_are_as_many(block: bytes) -> None:
    """Nothing raises, and there is exactly one item for each line that is not blank."""
    lines = [line for line in block.split(b"\n") if line.strip()]
    items = decode_lines(block)
    assert len(items) == len(lines)
    # A line stands for the same item alone and among others.
    alone = [item for line in lines for item in decode_lines(line)]
    assert items == alone


def refusal(decode: Callable[[bytes], object], body: bytes) -> str | None:
    """The code of the bad request that a body is, or None."""
    try:
        decode(body)
    except BadRequest as error:
        return error.code
    return None


@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode))
def test_no_body_raises_anything_else(body: bytes) -> None:
    """Any bytes are a question or a bad request, alone and as a batch."""
    assert refusal(decode_question, body) in (None, "malformed_json")
    assert refusal(partial(decode_batch, max_items=3), body) in (
        None,
        "malformed_json",
        "malformed_batch",
    )


def test_a_line_that_was_passed_over_has_its_error() -> None:
    """A line beyond the bound stands as an item whose length is wrong."""
    error = too_long(1024).errors[0]
    assert (error.field, error.code, error.expected) == ("", "bad_length", "≤ 1024 bytes")
