"""D22: no name twice and no NUL, in whatever way questions are read, against a plain oracle."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.invoice.samples import DIGITAL, WINDOW
from verifier.errors import BadRequest
from verifier.invoice.claim import Claim, Invalid, Item, Question
from verifier.invoice.parsing import parse
from verifier.pacing import Turns
from verifier.wire import repeats as counting
from verifier.wire.batches import read_batch, read_in_turns, read_lines
from verifier.wire.questions import decode_batch, decode_lines, decode_question

FIELDS = Question.__struct_fields__
PLAIN = json.dumps(DIGITAL.minimal()).encode()


def escaped(text: str, at: int) -> str:
    """JSON text whose character at a place is written as an escape."""
    at %= max(1, len(text))
    return f"{text[:at]}\\u{ord(text[at]):04x}{text[at + 1 :]}" if text else text


_spaces = st.sampled_from(["", "", "", " ", "\n\t"])
_texts = st.sampled_from(
    [
        "",
        "1",
        "a:b",
        ":",
        "null",
        ":null",
        '":',
        '\\"',
        "\\u003a",
        "\\u0000",
        "\\\\u0000",
        "\0",
        "发",
    ]
)
_values = st.one_of(
    _texts.map(json.dumps),
    _texts.map(lambda text: json.dumps(text, ensure_ascii=False)),
    _texts.filter(lambda text: "\0" not in text and text != '":').map(lambda text: f'"{text}"'),
    st.sampled_from(
        ["null", "null", "1", "1.50", "true", "[]", '{"a":1}', '{"a":1,"a":2}', "[{}]"]
    ),
    st.sampled_from(['[[{"number":"1","number":":"}]]', '{"a":{"b":{"c":1,"c":2}}}']),
)
_names = st.one_of(
    st.sampled_from(FIELDS[:4]),
    st.sampled_from(FIELDS),
    st.builds(escaped, st.sampled_from(FIELDS), st.integers(0, 20)),
    st.sampled_from(["x", "Number", "a:b", "\\u003a"]),
)


@st.composite
def objects(draw: st.DrawFn) -> str:
    """JSON text of an object that may have names twice."""
    written = [
        f'{draw(_spaces)}"{name}"{draw(_spaces)}:{draw(_spaces)}{value}{draw(_spaces)}'
        for name, value in draw(st.lists(st.tuples(_names, _values), max_size=5))
    ]
    return f"{{{','.join(written)}}}"


def repeated_in(text: str) -> set[str]:
    """The fields that are given twice, or in whose values a name is: by the standard library."""
    nested: list[bool] = []

    def pairs(given: list[tuple[str, Any]]) -> Any:
        most = max(Counter(name for name, _ in given).values(), default=0)
        nested.append(most > 1)
        return given

    top = json.loads(text, object_pairs_hook=pairs)
    assert isinstance(top, list)

    def dirty(value: Any) -> bool:
        if not isinstance(value, list):
            return False
        if any(isinstance(each, tuple) for each in value):
            names = [name for name, _ in value]
            return len(set(names)) < len(names) or any(dirty(inner) for _, inner in value)
        return any(map(dirty, value))

    counts = Counter(name for name, _ in top)
    found = {name for name, count in counts.items() if count > 1}
    return {name for name in FIELDS if name in found or any(dirty(v) for n, v in top if n == name)}


def complaints(item: Item, code: str) -> set[str]:
    """The fields of which an item's errors have a code."""
    assert not isinstance(item, Invalid)
    given = msgspec.structs.asdict(item) if isinstance(item, Question) else item
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    if isinstance(parsed, Claim):
        return set()
    return {error.field for error in parsed.errors if error.code == code}


def with_nul(text: str) -> set[str]:
    """The fields whose text has NUL."""
    given = json.loads(text)
    return {name for name in FIELDS if isinstance(given.get(name), str) and "\0" in given[name]}


def ways(texts: list[str]) -> list[list[Item]]:
    """The items of texts, by each way of reading them."""
    lines = [text.replace("\n", " ").encode() for text in texts]
    body = b'{"invoices":[%b]}' % b",".join(lines)

    async def careful() -> list[list[Item]]:
        return [
            list(await read_batch(body, 100, 65_536, Turns())),
            list(await read_lines(b"\n".join(lines), Turns())),
            list(await read_in_turns(body, 100, 65_536, Turns())),
        ]

    return [[decode_question(line) for line in lines], *asyncio.run(careful())]


@given(st.lists(objects(), min_size=1, max_size=4))
@example(['{"number":"1","number":"2"}'])
@example(['{"number":null,"number":"2"}', '{"code":null}'])
@example(['{"number":"2","numb\\u0065r":null}'])
@example(['{"reference":"\\u003a","number":"1","number":"2"}'])
@example(['{"reference":":","number":null,"number":"1"}'])
@example(['{"reference":"\\u0000"}', '{"reference":"\\\\u0000"}'])
def test_d22_repeats_and_nul_are_found_in_every_way_of_reading(texts: list[str]) -> None:
    """Exactly the fields that a plain reader finds repeated, or with NUL, are complained of."""
    for items in ways(texts):
        assert len(items) == len(texts)
        for item, text in zip(items, texts, strict=True):
            repeats = repeated_in(text)
            assert complaints(item, "duplicate_field") == repeats, text
            assert complaints(item, "bad_format") >= with_nul(text) - repeats, text
            # What may be answered without being parsed has neither.
            assert not (isinstance(item, Question) and (repeats or with_nul(text))), text


@given(st.lists(objects(), min_size=1, max_size=4))
def test_d22_what_is_read_at_once_is_what_is_read_one_by_one(texts: list[str]) -> None:
    """A batch and lines that pass the count are the same questions that each item is alone."""
    lines = [text.replace("\n", " ").encode() for text in texts]
    alone = [decode_question(line) for line in lines]
    for items in (
        decode_lines(b"\n".join(lines)),
        decode_batch(b'{"invoices":[%b]}' % b",".join(lines), 100),
    ):
        assert items is None or list(items) == alone


@pytest.mark.parametrize(
    "body",
    [
        b'{"invoices":[{}],"invoices":[%b]}' % PLAIN,
        b'{"invoices":[%b],"invoice\\u0073":[%b]}' % (PLAIN, PLAIN),
        b'{"invoices":null,"invoices":[%b]}' % PLAIN,
    ],
)
def test_d22_a_batch_with_two_lists_is_refused(body: bytes) -> None:
    """Two lists of items in one body are no batch, since it is not clear which would count."""
    assert decode_batch(body, 10) is None
    with pytest.raises(BadRequest) as raised:
        asyncio.run(read_batch(body, 10, 65_536, Turns()))
    assert raised.value.code == "malformed_batch"


def test_d22_plain_questions_are_read_at_once() -> None:
    """A large block without repeats is never read a second time, nulls and colons included."""
    for member in ("", ',"code":null', ',"reference":"PO:1"', ',"reference":"\\u53d1"'):
        line = PLAIN[:-1] + member.encode() + b"}"
        assert decode_lines(b"\n".join([line] * 1_000)) is not None
        assert decode_batch(b'{"invoices":[%b]}' % b",".join([line] * 1_000), 1_000) is not None


def test_d22_where_references_are_not_counted_members_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Python that keeps no count for None the result is the same."""
    monkeypatch.setattr(counting, "_COUNTED", False)
    twice = PLAIN[:-1] + b',"date":"2026-03-02"}'
    assert decode_lines(b"\n".join([PLAIN] * 3)) is not None
    assert decode_lines(b"\n".join([PLAIN, twice])) is None


def test_d22_a_collection_does_not_disturb_the_count() -> None:
    """Garbage that refers to None is not freed while members are counted."""
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            cycle: list[Any] = [None] * 10
            cycle.append(cycle)
            del cycle
            twice = PLAIN[:-1] + b',"date":"2026-03-02"}'
            assert decode_batch(b'{"invoices":[%b]}' % twice, 10) is None
            assert decode_batch(b'{"invoices":[%b]}' % PLAIN, 10) is not None
        assert gc.isenabled()
    finally:
        gc.set_threshold(*threshold)
