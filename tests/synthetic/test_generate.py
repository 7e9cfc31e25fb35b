"""The synthetic ledger: the same bytes, valid identities, consistent red letters."""

from __future__ import annotations

from collections import Counter
from datetime import date
from hashlib import sha256
from math import gcd

import msgspec
import pytest
from msgspec import UNSET

from verifier.invoice.codes import REGIONS, kind_of_code, region_of
from verifier.invoice.identity import key_of
from verifier.invoice.kinds import KINDS, STATUSES
from verifier.invoice.taxids import fails_check
from verifier.synthetic import ledger as module
from verifier.synthetic.ledger import (
    ABSENT_ROWS,
    EARLIEST,
    LATEST,
    MAX_ROWS,
    Entry,
    Ledger,
    generate,
)
from verifier.wire import lines as line

UNTIL = date(2026, 11, 24)
ROWS = 50_000
DIGITAL_FAMILY = {name for name in KINDS if name.startswith("digital")} | {
    "rail_ticket",
    "air_itinerary",
}


@pytest.fixture(scope="module")
def ledger() -> list[Entry]:
    """All rows of one ledger."""
    made = Ledger(ROWS, 1, UNTIL)
    return [made.invoice(index) for index in range(ROWS)]


def fen(money: str) -> int:
    """Money of the ledger in fen."""
    assert money[-3] == "."
    return int(money.replace(".", ""))


def test_the_bytes_never_change() -> None:
    """The first 2,000 rows of seed 7 are these bytes, on any machine and any Python."""
    data = b"".join(generate(2_000, 7, UNTIL))
    assert data.count(b"\n") == 2_000
    assert (
        sha256(data).hexdigest()
        == "fff0848fd1aba378aef8b52f16880fb4e2ca766a85b446d51e2a4b2e8d896840"
    )


def test_arguments_make_the_bytes() -> None:
    """The same arguments give the same bytes; each of them changes all but a few."""
    lines = list(generate(640, 1, UNTIL))
    assert lines == list(generate(640, 1, UNTIL))
    for other in (generate(640, 2, UNTIL), generate(640, 1, date(2026, 1, 24))):
        assert len(set(lines) & set(other)) < 10


def test_a_row_stands_alone(ledger: list[Entry]) -> None:
    """A row is the same whatever was made before it, also in any order."""
    again = Ledger(ROWS, 1, UNTIL)
    for index in (49_999, 0, 63, 62, 1_000, 64, 25_000, 62):
        assert again.invoice(index) == ledger[index]


def test_lines_are_the_rows(ledger: list[Entry]) -> None:
    """A line is the row as JSON, with its keys in the order of the fields and no null."""
    short = Ledger(ROWS, 1, UNTIL)
    for text, index in zip(short.lines(), range(640), strict=False):
        assert text.endswith(b"}\n")
        said = msgspec.json.decode(text)
        row = msgspec.to_builtins(ledger[index])
        assert list(said.items()) == list(row.items())
        assert None not in said.values()


def test_every_line_is_ingested() -> None:
    """Ingest reads each line without a complaint."""
    for made in generate(20_000, 3, UNTIL):
        assert isinstance(line.read(made), line.Row), made


def test_no_identity_twice() -> None:
    """Among 200,000 rows and 20,000 absent ones no identity comes twice."""
    made = Ledger(200_000, 5, UNTIL)
    rows = (made.invoice(index) for index in range(200_000))
    absent = (made.absent(index) for index in range(20_000))
    keys = [key_of(row.code, row.number) for source in (rows, absent) for row in source]
    assert len(set(keys)) == len(keys) == 220_000


def test_numbers_are_a_bijection() -> None:
    """Steps without a common divisor with their range give each row a number of its own."""
    assert gcd(module._NUMBER_STEP, module._NUMBERS) == 1
    assert gcd(module._SEQUENCE_STEP, module._SEQUENCES) == 1
    assert MAX_ROWS + ABSENT_ROWS <= module._NUMBERS


def test_identities_are_valid(ledger: list[Entry]) -> None:
    """A code says its own kind or that of the paper twin, and every region is known."""
    for row in ledger:
        kind = KINDS[row.kind]
        assert region_of(row.code, row.number) in REGIONS
        if kind.digital:
            assert row.code == ""
            assert len(row.number) == 20
            assert row.number[:2] == row.date[2:4]
        else:
            inferred = kind_of_code(row.code)
            assert inferred is not None
            assert inferred in (row.kind, kind.printed_on)
            assert len(row.code) in kind.code_lengths
            assert len(row.number) == 8
            assert row.number != "00000000"
        assert (row.code + row.number).isascii()
        assert (row.code + row.number).isdigit()


def test_check_codes(ledger: list[Entry]) -> None:
    """Kinds that ask for a check code have one of the right length; the others have none."""
    lengths: dict[str, set[int]] = {}
    for row in ledger:
        lengths.setdefault(row.kind, set()).add(len(row.check_code))
        if row.check_code and row.kind != "blockchain":
            assert row.check_code.isdigit()
    for name, kind in KINDS.items():
        special = {"blockchain": {5}, "digital_paper_ordinary": {6}}
        expected = {20} if "check_code" in kind.factors else {0}
        assert lengths[name] == special.get(name, expected)


def test_dates(ledger: list[Entry]) -> None:
    """Dates are the five years before the day, more of them on weekdays and lately."""
    dates = [date.fromisoformat(row.date) for row in ledger]
    assert min(dates) >= date(2021, 11, 25)
    assert max(dates) == date(2026, 11, 23)
    weekdays = Counter(day.weekday() for day in dates)
    assert max(weekdays[5], weekdays[6]) < 0.5 * min(weekdays[day] for day in range(5))
    years = Counter(day.year for day in dates)
    assert years[2022] < years[2023] < years[2024] < years[2025]
    closing = sum(day.day >= 28 for day in dates) / len(dates)
    assert 0.13 < closing < 0.2
    for row in ledger[:2_000]:
        assert row.issued_at[:11] == f"{row.date}T"
        assert row.issued_at[-1] == "Z"
        assert "00:00:00" <= row.issued_at[11:19] < "16:00:00"


def test_shares(ledger: list[Entry]) -> None:
    """All kinds, regions and statuses occur; about 90 % are 数电, more of them lately."""
    kinds = Counter(row.kind for row in ledger)
    assert kinds.keys() == KINDS.keys()
    digital = sum(kinds[kind] for kind in DIGITAL_FAMILY) / ROWS
    assert 0.88 < digital < 0.92
    old = [row for row in ledger if row.date.startswith("2022")]
    assert 0.5 < sum(row.kind in DIGITAL_FAMILY for row in old) / len(old) < 0.7
    regions = Counter(region_of(row.code, row.number) for row in ledger)
    assert regions.keys() == REGIONS.keys()
    assert regions["3200"] > 10 * regions["5400"]
    statuses = Counter(row.status for row in ledger)
    assert statuses.keys() == set(STATUSES)
    assert 0.02 < statuses["red_letter"] / ROWS < 0.04
    assert 0.015 < statuses["red_flushed"] / ROWS < 0.03
    assert 0.002 < statuses["partially_red_flushed"] / ROWS < 0.01
    assert 0.001 < statuses["voided"] / ROWS < 0.01


def test_only_invoices_with_a_code_are_voided(ledger: list[Entry]) -> None:
    """数电 invoices cannot be voided, only red-flushed."""
    assert all(row.code for row in ledger if row.status == "voided")


def test_red_letters(ledger: list[Entry]) -> None:
    """Red letters are later, negative, of the same parties, and sum up to the blue one's status."""
    blues = {(row.code, row.number): row for row in ledger}
    taken: Counter[tuple[str, str]] = Counter()
    for row in ledger:
        if row.red_letter_of is UNSET:
            assert row.status != "red_letter"
            assert fen(row.total) > 0
            continue
        blue = blues[row.red_letter_of.code, row.red_letter_of.number]
        assert row.status == "red_letter"
        assert fen(row.amount) < 0
        assert fen(row.tax) <= 0
        assert row.date > blue.date
        assert row.kind == blue.kind
        assert row.seller_tax_id == blue.seller_tax_id
        assert row.buyer_name == blue.buyer_name
        taken[blue.code, blue.number] -= fen(row.total)
        if -fen(row.amount) == fen(blue.amount):
            assert -fen(row.tax) == fen(blue.tax)
    for key, blue in blues.items():
        if blue.status == "red_flushed":
            assert taken[key] == fen(blue.total)
        elif blue.status == "partially_red_flushed":
            assert 0 < taken[key] < fen(blue.total)
        else:
            assert key not in taken


@pytest.mark.parametrize("rows", [0, 1, 61, 63, 64, 65, 127, 129])
def test_a_short_ledger_has_no_loose_ends(rows: int) -> None:
    """Wherever the ledger ends, every red letter and its blue invoice are both in it."""
    made = Ledger(rows, 1, UNTIL)
    invoices = [made.invoice(index) for index in range(rows)]
    known = {(row.code, row.number) for row in invoices}
    flushed = {(row.code, row.number) for row in invoices if "flushed" in row.status}
    origins = {
        (row.red_letter_of.code, row.red_letter_of.number)
        for row in invoices
        if row.red_letter_of is not UNSET
    }
    assert origins == flushed
    assert origins <= known


def test_money(ledger: list[Entry]) -> None:
    """Amount and tax make the total, and the tax is the amount at one of six rates, rounded."""
    rates = set()
    for row in ledger:
        amount, tax = fen(row.amount), fen(row.tax)
        assert amount + tax == fen(row.total)
        if row.status != "red_letter":
            fitting = {rate for rate in (0, 1, 3, 6, 9, 13) if (amount * rate + 50) // 100 == tax}
            assert fitting
            rates |= fitting if len(fitting) == 1 else set()
    assert rates == {0, 1, 3, 6, 9, 13}


def test_parties(ledger: list[Entry]) -> None:
    """A few thousand made-up companies; few ids fail, and special invoices name a company."""
    sellers = {row.seller_tax_id for row in ledger}
    buyers = {row.buyer_tax_id for row in ledger}
    assert 3_000 < len(sellers) < 5_000
    assert 3_000 < len(buyers) < 5_000
    assert "" not in sellers
    assert all(len(tax_id) in (15, 18, 20) for tax_id in sellers | buyers - {""})
    failing = sum(fails_check(row.seller_tax_id) for row in ledger) / ROWS
    assert 0 < failing < 0.02
    for row in ledger:
        assert row.seller_name.startswith("测试")
        assert row.buyer_name.startswith("测试")
        assert row.buyer_tax_id or not row.kind.endswith("special")


def test_no_id_is_a_real_company(ledger: list[Entry]) -> None:
    """The organisation code inside an id has a wrong check character of its own (GB 11714)."""
    for tax_id in {row.seller_tax_id for row in ledger} | {row.buyer_tax_id for row in ledger}:
        if not tax_id:
            continue
        organisation = tax_id[8:17] if len(tax_id) == 18 else tax_id[6:15]
        total = sum(
            int(character, 36) * weight
            for character, weight in zip(organisation, (3, 7, 9, 10, 5, 8, 4, 2), strict=False)
        )
        right = "0123456789X0"[11 - total % 11]
        assert organisation[8] != right


def test_absent_invoices() -> None:
    """An absent invoice can be dated at will, and then its number has that year."""
    made = Ledger(100, 1, UNTIL)
    for index in range(200):
        row = made.absent(index, on=UNTIL)
        assert row.date == "2026-11-24"
        assert row.code or row.number.startswith("26")
        assert row.status == "normal"
    with pytest.raises(IndexError):
        made.absent(ABSENT_ROWS)


@pytest.mark.parametrize("until", [EARLIEST, date(2024, 2, 29), LATEST])
def test_any_day_will_do(until: date) -> None:
    """Ledgers of the first, the last and a leap day have no 数电 before December 2021."""
    made = Ledger(2_000, 1, until)
    for index in range(2_000):
        row = made.invoice(index)
        assert row.date < until.isoformat()
        assert row.code or row.date >= "2021-12"


@pytest.mark.parametrize(
    ("rows", "until"),
    [(-1, UNTIL), (MAX_ROWS + 1, UNTIL), (1, date(2021, 12, 31)), (1, date(2100, 1, 1))],
)
def test_unusable_arguments(rows: int, until: date) -> None:
    """Arguments outside the bounds are refused at once, before any line."""
    with pytest.raises(ValueError, match="expected"):
        generate(rows, 1, until)
