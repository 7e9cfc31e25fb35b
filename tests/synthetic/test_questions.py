"""Questions about a synthetic ledger: their mix, and that each gets the answer it names."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from itertools import pairwise
from math import gcd
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.json import encode

from tests.invoice.samples import READING, told_by
from verifier.invoice import claim as claims
from verifier.invoice import identity, qr, verdict
from verifier.invoice.parsing import parse
from verifier.synthetic.ledger import Ledger
from verifier.synthetic.popularity import Popularity
from verifier.synthetic.questions import DEFAULT_MIX, Case, Questions, questions
from verifier.wire.records import Record, build

UNTIL = date(2026, 11, 24)
ROWS = 3_000
COUNT = 6_000


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """The ledger that is asked about."""
    return Ledger(ROWS, 1, UNTIL)


@pytest.fixture(scope="module")
def cases(ledger: Ledger) -> list[Case]:
    """Questions about it."""
    return list(Questions(ledger, COUNT, 0))


@pytest.fixture(scope="module")
def records(ledger: Ledger) -> dict[str, Record]:
    """The ledger as the judge sees it."""
    built = {}
    for row in map(ledger.invoice, range(ROWS)):
        key = identity.key_of(row.code, row.number)
        built[key] = build(
            key, row.kind, row.date, row.amount, row.tax, row.total, row.check_code,
            row.seller_tax_id, row.buyer_tax_id, row.status, "", "", encode(row.seller_name),
            encode(row.buyer_name), READING,
        )  # fmt: skip
    return built


# Of one moment it is always the same, and long to make.
window_at = cache(verdict.window_at)


def answer(case: Case, records: dict[str, Record], now: float) -> dict[str, Any]:
    """What the domain says to a question at a moment, in the words of ``expect``."""
    window = window_at(now)
    claim = parse(case.request, window.oldest, window.today)
    if isinstance(claim, claims.Invalid):
        errors = [(error.field, error.code) for error in claim.errors]
        return {"verdict": "invalid", "errors": errors}
    said = verdict.judge(claim, records.get(claim.key), verdict.complete_until(None, now))
    if said.verdict == "match":
        told = told_by(said.record)
        return {name: told[name] for name in ("verdict", "status", "usable")}
    if said.verdict == "mismatch":
        return {"verdict": "mismatch", "mismatched": list(said.mismatched)}
    return {"verdict": said.verdict}


@pytest.mark.parametrize("hour", [0, 12, 23.999])
def test_every_answer_is_as_named(
    cases: list[Case], records: dict[str, Record], hour: float
) -> None:
    """At any hour of the day of asking, each question gets exactly the answer it names."""
    now = datetime(2026, 11, 24, tzinfo=verdict.SHANGHAI) + timedelta(hours=hour)
    for case in cases:
        assert answer(case, records, now.timestamp()) == case.expect, case


def test_mix(cases: list[Case]) -> None:
    """The verdicts have their stated shares."""
    shares = Counter(case.expect["verdict"] for case in cases)
    for name, parts in DEFAULT_MIX.items():
        assert abs(shares[name] / COUNT - parts / 1000) < 0.01, name


def test_shapes(cases: list[Case]) -> None:
    """Questions are minimal, with kind, full, untidy, or QR strings with a right checksum."""
    scans = [case for case in cases if "qr" in case.request]
    assert 0.1 < len(scans) / COUNT < 0.16
    for case in scans:
        scan = qr.parse(case.request["qr"])
        assert scan is not None
        assert scan.checksum_ok is True
    full = sum("seller_tax_id" in case.request for case in cases) / COUNT
    assert 0.17 < full < 0.23
    named = sum("kind" in case.request for case in cases) / COUNT
    assert 0.26 < named < 0.34


def test_any_mix_can_be_had(ledger: Ledger) -> None:
    """A mix of one verdict gives only that verdict."""
    for name in DEFAULT_MIX:
        verdicts = {case.expect["verdict"] for case in Questions(ledger, 300, 0, {name: 1})}
        assert verdicts == {name}


def test_all_fields_are_spoilt_in_turn(ledger: Ledger) -> None:
    """Mismatches differ in every field that can be compared, sometimes in two."""
    cases = list(Questions(ledger, 2_000, 0, {"mismatch": 1}))
    fields: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    for case in cases:
        mismatched = case.expect["mismatched"]
        assert isinstance(mismatched, list)
        assert mismatched == sorted(set(mismatched))
        fields.update(mismatched)
        sizes[len(mismatched)] += 1
    assert fields.keys() == {
        "amount", "buyer_tax_id", "check_code", "date", "kind", "seller_tax_id", "total",
    }  # fmt: skip
    assert sizes.keys() == {1, 2}


def test_the_bytes_never_change() -> None:
    """The first 1,000 questions are these bytes, on any machine and any Python."""
    data = b"".join(questions(2_000, 7, UNTIL, 1_000))
    assert data.count(b"\n") == 1_000
    assert (
        sha256(data).hexdigest()
        == "e75fc08974292dd62c2a4332882f1f0bc285a323a067f440f01973dbc9826da7"
    )


def test_arguments_make_the_questions(ledger: Ledger, cases: list[Case]) -> None:
    """The same arguments give the same questions, fewer are the first of more, seeds differ."""
    assert list(Questions(ledger, 500, 0)) == cases[:500]
    other = list(Questions(ledger, 500, 1))
    assert sum(one.request == two.request for one, two in zip(cases, other, strict=False)) < 50
    lines = list(questions(ROWS, 1, UNTIL, 500))
    assert [msgspec.json.decode(line) for line in lines] == [case.request for case in cases[:500]]


@pytest.mark.parametrize("days", [1, 364])
def test_questions_can_be_asked_later(
    ledger: Ledger, cases: list[Case], records: dict[str, Record], days: int
) -> None:
    """Asked on a later day, each question gets the answer it names on that day; some are others."""
    day = UNTIL + timedelta(days=days)
    now = datetime(day.year, day.month, day.day, 12, tzinfo=verdict.SHANGHAI).timestamp()
    later = list(Questions(ledger, 2_000, 0, asked_on=day))
    for case in later:
        assert answer(case, records, now) == case.expect, case
    assert later != cases[:2_000]


@pytest.mark.parametrize("days", [-1, 365])
def test_day_of_asking_is_of_the_year_after(ledger: Ledger, days: int) -> None:
    """A day of asking before the ledger's own, or a year after it, is refused."""
    with pytest.raises(ValueError, match="asked_on: expected a day in the year from"):
        Questions(ledger, 1, 0, asked_on=UNTIL + timedelta(days=days))


@pytest.mark.parametrize(
    ("count", "mix", "zipf", "message"),
    [
        (-1, DEFAULT_MIX, "1", "count: expected at least 0"),
        (1, {"maybe": 1}, "1", "'maybe' is none of match, mismatch"),
        (1, {"match": -1}, "1", "expected parts of at least 0"),
        (1, {}, "1", "not all 0"),
        (1, DEFAULT_MIX, "4", "expected an exponent from 0 to 3"),
        (1, DEFAULT_MIX, "NaN", "expected an exponent from 0 to 3"),
    ],
)
def test_unusable_arguments(
    ledger: Ledger, count: int, mix: dict[str, int], zipf: str, message: str
) -> None:
    """Arguments outside their bounds are refused with what was expected."""
    with pytest.raises(ValueError, match=message):
        Questions(ledger, count, 0, mix, Decimal(zipf))


def test_an_empty_ledger_cannot_be_asked_about() -> None:
    """Without an invoice there is nothing to match."""
    with pytest.raises(ValueError, match="rows: expected at least 1"):
        questions(0, 1, UNTIL, 1)


def test_popularity_is_zipf_shaped() -> None:
    """The row of rank k is asked about in proportion to 1/k, over all ranks."""
    rows, draws = 100_000, 100_000
    popularity = Popularity(rows, Decimal(1))
    bits = Random(1).getrandbits
    asked = Counter(popularity.row(bits(64), bits(32)) for _ in range(draws))
    rank_of = {rank * popularity._step % rows: rank for rank in range(1, rows + 1)}
    ranks = Counter({rank_of[row]: number for row, number in asked.items()})
    harmonic = sum(1 / rank for rank in range(1, rows + 1))
    for low, high in ((1, 2), (2, 3), (10, 20), (100, 200), (1_000, 2_000), (50_000, 100_001)):
        expected = sum(1 / rank for rank in range(low, high)) / harmonic
        got = sum(ranks[rank] for rank in range(low, high)) / draws
        assert abs(got / expected - 1) < 0.05, (low, high)


@pytest.mark.parametrize("rows", [1, 2, 64, 65, 1_000, 9_973])
def test_every_row_can_be_asked_about(rows: int) -> None:
    """Ranks are a bijection of the rows, and the ends of the draws stay inside."""
    popularity = Popularity(rows, Decimal(1))
    assert gcd(popularity._step, rows) == 1
    for draw in (0, (1 << 64) - 1):
        for within in (0, (1 << 32) - 1):
            assert 0 <= popularity.row(draw, within) < rows


def test_without_an_exponent_all_rows_are_alike() -> None:
    """Exponent 0 asks about each row as often as about any other."""
    popularity = Popularity(100, Decimal(0))
    bits = Random(1).getrandbits
    asked = Counter(popularity.row(bits(64), bits(32)) for _ in range(100_000))
    assert len(asked) == 100
    assert max(asked.values()) < 1.3 * min(asked.values())


def test_popular_rows_are_scattered() -> None:
    """The ten most popular rows of a ledger are far from one another."""
    popularity = Popularity(1_000_000, Decimal(1))
    rows = sorted(rank * popularity._step % 1_000_000 for rank in range(1, 11))
    assert min(after - before for before, after in pairwise(rows)) > 10_000
