"""Answers to bytes: what the schema says, and never what the caller must not learn."""

from __future__ import annotations

import asyncio
import json
import re
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.desk import ABSENT, Desk
from tests.invoice.samples import (
    DIGITAL,
    NOON,
    PAPER,
    READING,
    Given,
    Sample,
    ask,
    perturbed,
    questions,
    samples,
    seeds,
)
from verifier.invoice.claim import Question
from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint
from verifier.invoice.kinds import STATUSES, USABLE_STATUSES
from verifier.invoice.record import USES
from verifier.invoice.verdict import VERDICTS, Answer, Judgement, Match
from verifier.state import Reading
from verifier.wire import schemas
from verifier.wire.answers import Encoder, counts_json
from verifier.wire.blocks import Answered, Recalled
from verifier.wire.members import errors_json, iso
from verifier.wire.messages import Language

LANGUAGES: tuple[Language, ...] = ("zh", "en")


def encode(answer: Judgement, language: Language = "zh", index: int | None = None) -> bytes:
    """The bytes of an answer, alone or in a block, which are as JSON encoders write them."""
    encoder = Encoder("p-")
    if index is None:
        encoded = encoder.encode(answer, language)
    else:
        encoded = encoder.encode_lines(Answered([answer]), language, index).removesuffix(b"\n")
    assert msgspec.json.encode(msgspec.json.decode(encoded)) == encoded
    return encoded


def shown(answer: Judgement, language: Language = "zh", index: int | None = None) -> dict[str, Any]:
    """The members of an answer, held against the schema of its verdict."""
    encoded = encode(answer, language, index)
    result = msgspec.json.decode(encoded, type=schemas.Result, strict=True)
    members: dict[str, Any] = json.loads(encoded)
    # Nothing is lost in the schema either.
    assert msgspec.to_builtins(result) == members
    return members


NASTY = ["expense-4711", '"', "\\", "\n\t\0\x1f", "报销 😀", "\u2028", "</script>", ""]


@pytest.mark.parametrize("reference", [None, *NASTY])
@pytest.mark.parametrize("index", [None, 0, 9999])
def test_a_match_has_the_members_of_the_contract(reference: str | None, index: int | None) -> None:
    """A match put together from prepared bytes says what the contract's example says."""
    sample = Sample(seller_name='"销售"\\', buyer_name="\x00")
    answer = Judgement(
        "match",
        sample.key,
        reference,
        record=sample.record(),
        reading=READING,
        source="cache",
    )
    expected: dict[str, Any] = {} if index is None else {"index": index}
    expected |= {
        "verdict": "match",
        "status": "normal",
        "usable": True,
        "invoice": {
            "kind": sample.kind,
            "code": "",
            "number": sample.number,
            "date": sample.date,
            "region": "1100",
            "amount": "100.00",
            "tax": "13.00",
            "total": "113.00",
            "seller_tax_id": sample.seller_tax_id,
            "seller_name": '"销售"\\',
            "buyer_tax_id": "",
            "buyer_name": "\x00",
            "red_letter_of": None,
            "red_letters": [],
        },
        "hints": [],
        "freshness": {"as_of": "2026-11-24T04:00:00.000Z", "source": "cache", "stale": False},
        "id": "p-1" if index is None else "p-1.0",
        "reference": reference,
    }
    assert shown(answer, index=index) == expected
    assert encode(answer, index=index) == msgspec.json.encode(expected)


@given(samples(), st.sampled_from(LANGUAGES), st.none() | st.integers(0, 10**6))
def test_every_match_fits_its_schema(sample: Sample, language: Language, index: int | None) -> None:
    """Whatever the invoice holds, its answer is JSON of the form that is documented."""
    answer = Judgement(
        "match",
        sample.key,
        record=sample.record(),
        hints=(Hint("repaired", "total"), Hint("duplicate_in_request", "number", 3)),
        reading=READING,
        source="joined",
    )
    members = shown(answer, language, index)
    assert members["invoice"]["seller_name"] == sample.seller_name
    assert [hint.get("first_index") for hint in members["hints"]] == [None, 3]


@pytest.mark.parametrize("status", STATUSES)
def test_usable_follows_from_the_status(status: str) -> None:
    """Only a normal or partially flushed invoice is usable."""
    sample = Sample(status=status)
    members = shown(Judgement("match", record=sample.record(), reading=READING, source="primary"))
    assert members["status"] == status
    assert members["usable"] is (status in USABLE_STATUSES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("index", [None, 7])
def test_the_other_verdicts_fit_their_schemas(language: Language, index: int | None) -> None:
    """Each verdict carries what belongs to it, and nothing else."""
    hints = (Hint("repaired", "date"),)
    read: dict[str, Any] = {"reading": READING, "source": "replica", "hints": hints}
    for answer, own in (
        (Judgement("mismatch", "k", "r", mismatched=("date", "total"), **read), {"mismatched"}),
        (Judgement("not_found", "k", "r", **read), set()),
        (Judgement("pending", "k", "r", retry_after=60, **read), {"retry_after"}),
        (Judgement("invalid", errors=(FieldError("date", "required"),), hints=hints), {"errors"}),
        (Judgement("unavailable", "k", reason="stale", retry_after=1), {"reason", "retry_after"}),
    ):
        members = shown(answer, language, index)
        expected = {"verdict", "hints", "id", "reference"} | own
        expected |= {"freshness"} if answer.reading else set()
        expected |= set() if index is None else {"index"}
        assert members.keys() == expected
        assert members["verdict"] == answer.verdict
        assert members["reference"] == answer.reference


@given(questions, st.sampled_from(LANGUAGES))
def test_whatever_is_asked_can_be_answered(given: Given, language: Language) -> None:
    """Every error and hint that a question can bring has its words and fits the schema."""
    answer = ask(given, DIGITAL.record())
    if answer.verdict != "invalid":
        answer.reading, answer.source = READING, "replica"
    shown(answer, language)


def test_ids_are_unique() -> None:
    """No two answers of a process share an id, and none of two processes."""
    one, other = Encoder("a-"), Encoder("b-")
    answers = [
        Judgement("match", record=DIGITAL.record(), reading=READING, source="cache"),
        Judgement("not_found", reading=READING, source="cache"),
    ] * 20
    ids = {json.loads(encoder.encode(a, "zh"))["id"] for a in answers for encoder in (one, other)}
    ids.add(one.members(answers[1], "zh")["id"])
    assert len(ids) == 2 * len(answers) + 1


SECRET = Sample(
    kind="vat_e_ordinary",
    code="031002300111",
    number="48261937",
    date="2025-07-19",
    amount="7319485.62",
    tax="950738.11",
    total="8270223.73",
    check_code="50617283946172839405",
    seller_tax_id="91310115TESTSELLER",
    seller_name="秘密销售有限公司",
    buyer_tax_id="91310115TESTBUYERS",
    buyer_name="秘密购买有限公司",
    status="partially_red_flushed",
)
HELD = [
    *(getattr(SECRET, name) for name in SECRET.__struct_fields__ if name not in ("kind", "code")),
    SECRET.check_code[-6:],
]


@settings(max_examples=30)
@given(seeds)
def test_only_a_match_tells_what_the_ledger_holds(seed: int) -> None:
    """No answer but a match contains a value of the invoice that the caller did not give."""
    random = Random(seed)

    async def answers() -> None:
        desk, encoder = Desk(SECRET), Encoder("p")
        for _ in range(40):
            given = perturbed(random, SECRET)
            answer = await desk.ask(given)
            if answer.verdict == "match":
                continue
            supplied = json.dumps(given, ensure_ascii=False)
            encoded = encoder.encode(answer, random.choice(LANGUAGES)).decode()
            for value in HELD:
                assert value in supplied or value not in encoded, (given, encoded)

    asyncio.run(answers())


@pytest.mark.parametrize("source", ["cache", "joined", "replica", "primary"])
def test_freshness_says_how_new_and_from_where(source: str) -> None:
    """Each answer that rests on a reading says when that was, from where, and if it is stale."""
    encoder = Encoder("p")
    for stale in (False, True):
        for answer in (
            Judgement("match", record=PAPER.record(), reading=READING, source=source, stale=stale),
            Judgement("not_found", ABSENT.key, reading=READING, source=source, stale=stale),
        ):
            assert json.loads(encoder.encode(answer, "zh"))["freshness"] == {
                "as_of": "2026-11-24T04:00:00.000Z",
                "source": source,
                "stale": stale,
            }


def test_prepared_freshness_is_bounded() -> None:
    """However many states are answered from, only so many are kept as bytes."""
    encoder = Encoder("p")
    for second in range(3000):
        reading = Reading("replica", NOON + second, {})
        answer = Judgement("not_found", reading=reading, source="replica")
        freshness = json.loads(encoder.encode(answer, "zh"))["freshness"]
        assert freshness["as_of"] == iso(NOON + second)
        assert len(encoder._freshness) <= 1024


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (NOON + 0.123, "2026-11-24T04:00:00.123Z"),
        (NOON + 0.9996, "2026-11-24T04:00:00.999Z"),  # never newer than it is
    ],
)
def test_moments(moment: float, text: str) -> None:
    """Moments are UTC with milliseconds."""
    assert iso(moment) == text


def test_errors_and_counts() -> None:
    """Errors come with their words, and a summary has every verdict."""
    error = FieldError("total", "bad_format", "-1234.50")
    listed = [
        {
            "field": "total",
            "code": "bad_format",
            "message": "total is malformed; expected -1234.50",
            "expected": "-1234.50",
        }
    ]
    assert errors_json((error,), 0, "en") == {"errors": listed}
    assert errors_json((error,), 7, "en") == {"errors": listed, "more_errors": 7}
    counts: dict[Any, int] = dict.fromkeys(VERDICTS, 3)
    uses = dict.fromkeys(USES, 2)
    summary = msgspec.json.decode(counts_json(counts, uses), type=schemas.Summary)
    assert msgspec.to_builtins(summary) == {**counts, "matches": uses}


@pytest.mark.parametrize("first", [0, 9_997, 10_000, 123_456, 999_998])
@pytest.mark.parametrize("references", [[None] * 6, ["r", None, 'a"b', "", None, None]])
def test_many_are_encoded_as_each_one_is(first: int, references: list[str | None]) -> None:
    """A block of answers says what each of them says alone, under an id of its own."""
    record, voided = Sample().record(), Sample(status="voided").record()
    later = Reading("primary", NOON + 1, {})
    items = [Question(reference=reference) for reference in references]
    recalled = Recalled(items, [DIGITAL.key] * 6, [record, voided] * 3, READING)
    mixed = Answered(
        [
            recalled.match(0),
            Match(DIGITAL.key, voided, later, "primary", references[1]),
            Judgement("unavailable", DIGITAL.key, references[2], reason="timeout", retry_after=1),
            Match(DIGITAL.key, voided, later, "joined", references[3]),
            recalled.match(4),
            recalled.match(5).hinted(Hint("repaired", "total")),
        ]
    )
    encoder = Encoder("p-")
    ids = []
    for block in (recalled, mixed):
        each = [shown_alone(answer, first + at) for at, answer in enumerate(block.answers)]
        lines = b"".join(line + b"\n" for line in each)
        results = b"," * (first > 0) + b",".join(each)
        for _ in range(2):
            for encode, expected in (
                (encoder.encode_lines, lines),
                (encoder.encode_results, results),
            ):
                encoded = encode(block, "en", first)
                assert ID.sub(b"", encoded) == expected
                ids += ID.findall(encoded)
    assert len(set(ids)) == 8 * 6


ID = re.compile(rb'"id":"[^"]+",')


def shown_alone(answer: Answer, index: int) -> bytes:
    """The bytes of one answer, with its index but without its id."""
    alone = ID.sub(b"", Encoder("p-").encode(answer, "en"))
    return b'{"index":%d,%b' % (index, alone[1:])
