"""The judge, and the short cut that must never say anything else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from math import inf
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.invoice.samples import (
    COMPARED,
    DIGITAL,
    NOON,
    PAPER,
    WINDOW,
    Given,
    Sample,
    ask,
    perturbed,
    samples,
    seeds,
    told_by,
)
from verifier.invoice.claim import Invalid, Question, raw_keys
from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint
from verifier.invoice.kinds import KINDS, STATUSES, USABLE_STATUSES
from verifier.invoice.verdict import (
    DAY,
    LONGEST_RETRY,
    agrees,
    complete_until,
    disagreeing,
    invalid,
    window_at,
)
from verifier.invoice.watermarks import OLDEST

SPECIAL = Sample(kind="vat_special", code="1100221130", number="12345678")
BLOCKCHAIN = Sample(kind="blockchain", code="144032309110", number="12345678", check_code="ab12c")


def question(given: Given) -> Question:
    """The question as the decoder would give it."""
    return Question(**given)


@settings(max_examples=300)
@given(st.one_of(samples(), samples(tidy=True)), seeds)
def test_the_short_cut_says_what_the_judge_says(sample: Sample, seed: int) -> None:
    """Where ``agrees`` says yes, parsing and judging give a match of that invoice, no hints."""
    record = sample.record()
    random = Random(seed)
    for _ in range(40):
        given = perturbed(random, sample)
        asking = question(given)
        # Memory is asked by the raw key, so the short cut only ever sees the record of that key.
        if raw_keys([asking])[0] == sample.key and agrees(asking, record, WINDOW):
            answer = ask(given, record)
            assert (answer.verdict, answer.hints, answer.key) == ("match", (), sample.key), given
            assert answer.reference == asking.reference


@settings(max_examples=300)
@given(st.one_of(samples(), samples(tidy=True)), seeds)
def test_many_disagree_where_each_does(sample: Sample, seed: int) -> None:
    """And where there is no record; each question is told by its index."""
    random = Random(seed)
    asked = [question(perturbed(random, sample)) for _ in range(40)]
    records = [random.choice([sample.record()] * 9 + [None]) for _ in asked]
    assert disagreeing(asked, records, WINDOW) == [
        index
        for index, (asking, record) in enumerate(zip(asked, records, strict=True))
        if record is None or not agrees(asking, record, WINDOW)
    ]


@given(samples(tidy=True), st.booleans())
def test_the_short_cut_is_taken(sample: Sample, full: bool) -> None:
    """Questions that spell a tidy invoice as the ledger does need no parsing."""
    asking = question(sample.full() if full else sample.minimal())
    assert raw_keys([asking])[0] == sample.key
    assert agrees(asking, sample.record(), WINDOW)


@pytest.mark.parametrize(
    ("sample", "changes"),
    [
        # Found by looking: each of these is equal to the ledger and still not a plain match.
        (PAPER, {"code": None, "number": PAPER.key}),  # the key is no number
        (Sample(seller_tax_id="12345"), {"seller_tax_id": "12345"}),  # too short to be asked
        (Sample(seller_tax_id=""), {"seller_tax_id": ""}),  # nothing supplied, a waste to compare
        (Sample(buyer_tax_id="91110108MA01A2B3C4"), {"buyer_tax_id": "91110108MA01A2B3C4"}),
        (Sample(date="2021-11-23", number="21" + DIGITAL.number[2:]), {}),  # out of window
        (Sample(date="2026-11-25"), {}),  # in the future
        (Sample(date="2025-03-01"), {}),  # the number's year is another one
        (DIGITAL, {"total": None}),
        (PAPER, {"check_code": None}),
        (PAPER, {"check_code": ""}),
        (SPECIAL, {"amount": None}),
        (BLOCKCHAIN, {"amount": None}),
        (BLOCKCHAIN, {"check_code": None}),
        (BLOCKCHAIN, {"check_code": "AB12C"}),
        (PAPER, {"check_code": "90"}),
        (PAPER, {"check_code": "567890 "}),
        (DIGITAL, {"total": "113"}),
        (DIGITAL, {"kind": ""}),
        (DIGITAL, {"kind": "digital_special"}),
        (DIGITAL, {"qr": "x"}),
    ],
)
def test_the_short_cut_leaves_the_rest_to_the_judge(sample: Sample, changes: Given) -> None:
    """Whatever would be an error, a hint or a mismatch is looked at more closely."""
    asking = question(sample.minimal() | changes)
    assert raw_keys([asking])[0] != sample.key or not agrees(asking, sample.record(), WINDOW)


@given(samples(tidy=True), st.data())
def test_one_changed_field_is_the_one_that_differs(sample: Sample, data: st.DataObject) -> None:
    """A full question with one field changed is a mismatch in exactly this field."""
    given = sample.full()
    field = data.draw(st.sampled_from([name for name in COMPARED if name in given]))
    value = given[field]
    if field == "kind":
        same = [
            kind.name
            for kind in KINDS.values()
            if kind.name != value
            and kind.digital == KINDS[value].digital
            and set(kind.factors) <= given.keys()
            and "blockchain" not in (kind.name, value)
        ]
        assume(same)
        changed = data.draw(st.sampled_from(same))
    elif field == "date":
        changed = "2024-02-29" if value != "2024-02-29" else "2024-03-01"
    elif field in ("amount", "total"):
        changed = "0.01" if value != "0.01" else "0.10"
    elif field == "check_code":
        position = data.draw(st.integers(-min(6, len(value)), -1))
        digit = "1" if value[position] != "1" else "2"
        changed = value[:position] + digit + value[position:][1:]
        if len(changed) == 20 and data.draw(st.booleans()):
            changed = changed[-6:]
    else:
        changed = "123456789012345"
    answer = ask(given | {field: changed}, sample.record())
    assert (answer.verdict, answer.mismatched) == ("mismatch", (field,))
    assert answer.record is None


def test_all_differing_fields_are_named_in_order() -> None:
    """A mismatch names every differing field, sorted, and nothing of the invoice."""
    given = {
        "number": PAPER.number,
        "code": PAPER.code,
        "date": "2026-03-02",
        "kind": "vat_toll",
        "amount": "1",
        "total": "2",
        "check_code": "000000",
        "seller_tax_id": "123456789012345",
        "buyer_tax_id": "123456789012345",
    }
    answer = ask(given, PAPER.record())
    assert answer.mismatched == tuple(sorted(COMPARED))
    assert answer.record is None


@pytest.mark.parametrize(
    ("given", "held", "agree"),
    [
        ("567890", "12345678901234567890", True),
        ("12345678901234567890", "12345678901234567890", True),
        ("02345678901234567890", "12345678901234567890", False),  # the last six are not enough
        ("567891", "12345678901234567890", False),
        ("12345678901234567890", "567890", True),  # 数电纸质: its own number's last six
        ("12345678901234567890", "567891", False),
        ("567890", "", False),
        ("567890", "67890", False),
    ],
)
def test_check_codes_are_compared_by_six_or_twenty(given: str, held: str, agree: bool) -> None:
    """The last six digits are compared, or all twenty where both have them (domain.md §2)."""
    sample = Sample(kind="vat_e_ordinary", code=PAPER.code, number="12345678", check_code=held)
    answer = ask(sample.minimal() | {"check_code": given}, sample.record())
    assert answer.mismatched == (() if agree else ("check_code",))


@pytest.mark.parametrize("given", ["ab12C", "AB12c", "ab12c", "AB12C"])
def test_blockchain_check_codes_have_no_case(given: str) -> None:
    """Five characters agree in any case, and their case is no repair."""
    sample = Sample(kind="blockchain", code="144032309110", number="12345678", check_code="Ab12C")
    answer = ask(sample.minimal() | {"check_code": given}, sample.record())
    assert (answer.verdict, answer.hints) == ("match", ())


@pytest.mark.parametrize(
    ("watermark", "verdict", "retry_after"),
    [
        (0, "not_found", 0),  # relative to the midnight after the issue date
        (1, "not_found", 0),
        (-0.5, "pending", 1),
        (-90, "pending", 90),
        (-90.2, "pending", 91),
        (-LONGEST_RETRY - 1, "pending", LONGEST_RETRY),
        (-30 * DAY, "pending", LONGEST_RETRY),
    ],
)
def test_absent_means_not_found_only_once_the_day_is_complete(
    watermark: float, verdict: str, retry_after: int
) -> None:
    """An absent invoice is pending until the region is complete for the whole issue date."""
    midnight = datetime(2026, 3, 1, 16, tzinfo=UTC).timestamp()
    answer = ask(DIGITAL.minimal() | {"reference": "r"}, None, midnight + watermark)
    assert (answer.verdict, answer.retry_after) == (verdict, retry_after)
    assert (answer.key, answer.reference) == (DIGITAL.key, "r")


def test_a_region_without_a_watermark_is_complete_until_a_day_ago() -> None:
    """An unset watermark counts as 24 hours before the reading; a set one counts as it is."""
    assert complete_until(None, NOON) == NOON - DAY
    assert complete_until(NOON - 5.0, NOON) == NOON - 5.0


def test_a_watermark_of_the_future_is_complete_until_the_reading() -> None:
    """Whatever plain SQL has stored, a day is not complete before it is over (A7)."""
    year_9999 = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
    for stored in (NOON + 0.001, NOON + DAY, year_9999, inf):
        assert complete_until(stored, NOON) == NOON
    for stored in (-1e12, -inf):
        assert complete_until(stored, NOON) == OLDEST
        answer = ask(DIGITAL.minimal(), None, complete_until(stored, NOON))
        assert (answer.verdict, answer.retry_after) == ("pending", LONGEST_RETRY)


@pytest.mark.parametrize(
    ("now", "oldest", "today"),
    [
        ("2026-11-24T15:59:59Z", "2021-11-24", "2026-11-24"),
        ("2026-11-24T16:00:00Z", "2021-11-25", "2026-11-25"),
        ("2026-12-31T16:00:00Z", "2022-01-01", "2027-01-01"),
        ("2028-02-28T16:00:00Z", "2023-02-28", "2028-02-29"),
        ("2028-02-29T16:00:00Z", "2023-03-01", "2028-03-01"),
        ("2029-02-27T16:00:00Z", "2024-02-28", "2029-02-28"),
        ("2029-02-28T16:00:00Z", "2024-03-01", "2029-03-01"),
    ],
)
def test_the_window_follows_the_day_in_shanghai(now: str, oldest: str, today: str) -> None:
    """Five years back to today in Asia/Shanghai, leap days included, and valid until midnight."""
    moment = datetime.fromisoformat(now).timestamp()
    window = window_at(moment)
    assert (window.oldest, window.today) == (oldest, today)
    assert 0 < window.until - moment <= DAY
    assert (window.until + 8 * 3600) % DAY == 0
    assert window_at(window.until - 1) == window
    first, last = (date.fromisoformat(day).toordinal() for day in (oldest, today))
    assert window.days == {date.fromordinal(day).isoformat() for day in range(first, last + 1)}
    assert window_at(window.until).today > today


def test_the_window_ends_at_midnight_to_the_second() -> None:
    """Whatever fraction of a second it is made at."""
    assert window_at(NOON + 0.25) == window_at(NOON)


def test_what_is_pending_keeps_its_hints() -> None:
    """What is told of the question does not wait for the invoice."""
    given = DIGITAL.minimal() | {"date": "2025-03-01"}
    before = datetime(2025, 3, 1, tzinfo=UTC).timestamp()
    answer = ask(given, None, before)
    assert answer.verdict == "pending"
    assert [hint.code for hint in answer.hints] == ["number_year"]


def test_a_mismatch_has_its_key() -> None:
    """By which the invoice was looked up."""
    answer = ask(DIGITAL.minimal() | {"total": "0.01"}, DIGITAL.record())
    assert (answer.verdict, answer.key) == ("mismatch", DIGITAL.key)


@pytest.mark.parametrize("field", ["amount", "total"])
def test_amounts_that_may_be_swapped_are_hinted_at(field: str) -> None:
    """When either differs from the ledger, and the amount is not below the total."""
    given = DIGITAL.full()
    other = {"amount": given["total"], "total": given["amount"]}[field]
    answer = ask(given | {field: other}, DIGITAL.record())
    assert answer.mismatched == (field,)
    assert [hint.code for hint in answer.hints] == ["swapped_amounts"]


def test_amounts_that_agree_are_not_hinted_at() -> None:
    """When something else differs, and the ledger says that the amount is the total."""
    sample = Sample(amount="100.00", total="100.00")
    answer = ask(sample.full() | {"date": "2026-03-02"}, sample.record())
    assert answer.mismatched == ("date",)
    assert answer.hints == ()


def test_what_is_invalid_tells_all_that_was_found() -> None:
    """Its errors, how many more there are, and its hints."""
    error, hint = FieldError("total", "required"), Hint("number_year", "number")
    answer = invalid(Invalid((error,), (hint,), 3))
    assert (answer.verdict, answer.errors) == ("invalid", (error,))
    assert (answer.hints, answer.more_errors) == ((hint,), 3)


def test_every_status_is_a_match_and_two_are_usable() -> None:
    """A found invoice matches whatever its status; only two of them may be used."""
    for status in STATUSES:
        answer = ask(DIGITAL.minimal(), Sample(status=status).record())
        assert answer.verdict == "match"
        assert told_by(answer.record)["status"] == status
    assert {"normal", "partially_red_flushed"} == USABLE_STATUSES
