"""Generated invoices and questions for the tests of the domain, the engine and the API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from datetime import date as Date
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st

from verifier.invoice.claim import Claim, Invalid, Question
from verifier.invoice.codes import NUMBER_REGIONS, REGIONS
from verifier.invoice.identity import NO_NUMBER, key_of
from verifier.invoice.kinds import KINDS, STATUSES
from verifier.invoice.parsing import parse
from verifier.invoice.record import Held
from verifier.invoice.taxids import ALPHABET, check_character
from verifier.invoice.verdict import Judgement, invalid, judge, window_at
from verifier.state import Reading
from verifier.synthetic.identities import code_of
from verifier.wire.records import Record, build

# The conformance set's moment: 2026-11-24T12:00:00+08:00.
NOON = datetime(2026, 11, 24, 4, tzinfo=UTC).timestamp()
WINDOW = window_at(NOON)
READING = Reading("replica", NOON, {})

Given = dict[str, Any]

TEXT_FIELDS = tuple(name for name in Question.__struct_fields__ if name != "reference")
COMPARED = ("kind", "date", "amount", "total", "check_code", "seller_tax_id", "buyer_tax_id")


class Sample(msgspec.Struct, frozen=True):
    """One invoice of a ledger in canonical text; empty where it has none."""

    kind: str = "digital_ordinary"
    code: str = ""
    number: str = "26112000000000000001"
    date: str = "2026-03-01"
    amount: str = "100.00"
    tax: str = "13.00"
    total: str = "113.00"
    check_code: str = ""
    seller_tax_id: str = "91110108MA01A2B3CF"
    seller_name: str = "测试销售有限公司"
    buyer_tax_id: str = ""
    buyer_name: str = "测试购买有限公司"
    status: str = "normal"

    @property
    def key(self) -> str:
        """Its key in the ledger."""
        return key_of(self.code, self.number)

    def record(self, reading: Reading = READING) -> Record:
        """What memory keeps of it."""
        return build(
            self.key,
            self.kind,
            self.date,
            self.amount,
            self.tax,
            self.total,
            self.check_code,
            self.seller_tax_id,
            self.buyer_tax_id,
            self.status,
            "",
            "",
            msgspec.json.encode(self.seller_name),
            msgspec.json.encode(self.buyer_name),
            reading,
        )

    def minimal(self) -> Given:
        """The least that a caller without a kind must give, whatever the code says."""
        given = {"number": self.number, "date": self.date}
        if self.code:
            given["code"] = self.code
        for factor in KINDS[self.kind].factors:
            value: str = getattr(self, factor)
            given[factor] = value[-6:] if factor == "check_code" else value
        return given

    def full(self) -> Given:
        """Every field that a question may have and this invoice has."""
        fields = ("code", "number", *COMPARED)
        return {name: value for name in fields if (value := getattr(self, name))}


PAPER = Sample(
    kind="vat_e_ordinary",
    code="011002300111",
    number="12345678",
    check_code="12345678901234567890",
    buyer_tax_id="91110108MA01A2B3CF",
)
DIGITAL = Sample()


def ask(given: Given, record: Record | None, watermark: float = NOON) -> Judgement:
    """The answer by way of parsing and judging alone, at NOON."""
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    return invalid(parsed) if isinstance(parsed, Invalid) else judge(parsed, record, watermark)


def told_by(record: Held | None) -> dict[str, Any]:
    """What a match with a record tells: verdict, status, usable and invoice."""
    assert record is not None
    told: dict[str, Any] = msgspec.json.decode(b"{%b}" % record.members)
    return told


def claim_of(given: Given) -> Claim:
    """The claim of a question that is well formed at NOON."""
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    assert isinstance(parsed, Claim), parsed
    return parsed


def errors_of(given: Given) -> list[tuple[str, str]]:
    """The (field, code) pairs of a question that is malformed at NOON."""
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    assert isinstance(parsed, Invalid), parsed
    return [(error.field, error.code) for error in parsed.errors]


def repaired(answer: Judgement | Claim) -> list[str]:
    """The fields that an answer calls repaired."""
    return sorted(hint.field for hint in answer.hints if hint.code == "repaired")


def digits(count: int) -> st.SearchStrategy[str]:
    """So many decimal digits."""
    return st.text("0123456789", min_size=count, max_size=count)


dates = st.dates(Date.fromisoformat(WINDOW.oldest), Date.fromisoformat(WINDOW.today))

# Many questions of one example come from a seed: drawing each through hypothesis is slow.
seeds = st.integers(0, 2**32 - 1)

fen = st.one_of(
    st.integers(0, 999), st.integers(-99_999_999_99, 99_999_999_99), st.just(10**13 - 1)
)


def yuan(amount: int) -> str:
    """Fen as the ledger writes them."""
    return f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02d}"


_characters = st.text(ALPHABET, min_size=17, max_size=17)
sound_tax_ids = _characters.map(lambda first: first + (check_character(first) or ""))
any_tax_ids = st.one_of(
    sound_tax_ids,
    st.just(""),
    st.text(ALPHABET, min_size=18, max_size=18),  # the check character fails, mostly
    st.text("0123456789ABCXYZ", min_size=1, max_size=20),  # older, or odd in the ledger
)


@st.composite
def samples(draw: st.DrawFn, *, tidy: bool = False, kinds: Iterable[str] = KINDS) -> Sample:
    """Invoices of these kinds. Tidy ones call for no hint: codes say the kind, ids are sound."""
    kind = draw(st.sampled_from(sorted(kinds)))
    day = draw(dates)
    date = day.isoformat()
    rule = KINDS[kind]
    if rule.digital:
        code = ""
        year = date[2:4] if tidy or draw(st.booleans()) else draw(digits(2))
        number = year + draw(st.sampled_from(sorted(NUMBER_REGIONS))) + draw(digits(16))
    else:
        bits = draw(st.integers(0, 2**20 - 1))
        code = code_of(kind, draw(st.sampled_from(sorted(REGIONS))), day.year, bits)
        if not tidy and draw(st.booleans()):
            code = code[:7] + draw(digits(len(code) - 7))  # another kind's code, or nobody's
        number = draw(digits(8).filter(lambda text: text != NO_NUMBER))
    form, check_code = rule.check_code, ""
    if form.letters:
        check_code = draw(
            st.text("0123456789abcdefABCDEF", min_size=form.length, max_size=form.length)
        )
    elif rule.has_check_code or draw(st.booleans()):
        check_code = draw(digits(form.length))
    amount, tax = draw(fen), draw(st.integers(0, 99_999))
    ids = sound_tax_ids if tidy else any_tax_ids
    total = amount + tax if amount + tax < 10**13 else amount
    return Sample(
        kind=kind,
        code=code,
        number=number,
        date=date,
        amount=yuan(amount),
        tax=yuan(tax),
        total=yuan(total),
        check_code=check_code,
        seller_tax_id=draw(ids),
        seller_name=draw(st.text(max_size=8)),
        buyer_tax_id=draw(st.one_of(ids, st.just(""))),
        buyer_name=draw(st.text(max_size=8)),
        status=draw(st.sampled_from(STATUSES)),
    )


_TEXTS = ("", " ", "0", "12345", "0.00", "x", "全", "１２３", "91110108MA01A2B3CF", "2021-11-24")


def _altered(random: Random, value: str, others: list[str]) -> str:
    """Another text in place of a value: a different spelling, another field's, or any."""
    ways = (
        value.lower(),
        value.upper(),
        value[-6:],
        value[:-1],
        f" {value}",
        f"{value}0",
        value.replace("0", "O"),
        value.replace("-", ""),
        value[::-1],
        random.choice(others),
        random.choice(_TEXTS),
        random.choice(list(KINDS)),
    )
    return random.choice(ways)


def perturbed(random: Random, sample: Sample) -> Given:
    """A question about an invoice; most of its fields are as the ledger spells them."""
    others = list(sample.full().values())
    given: Given = {}
    for name in ("code", "number", *COMPARED):
        value: str = getattr(sample, name)
        how = random.random()
        if how < 0.04:
            given[name] = _altered(random, value, others)
        elif how < 0.75:
            given[name] = value or random.choice((None, ""))
    if random.random() < 0.05:
        given["number"] = sample.key
        given.pop("code", None)
    if random.random() < 0.5:
        given["reference"] = random.choice(("", "r", '"\\引用"'))
    if random.random() < 0.05:
        given["qr"] = random.choice(("", "x", f"01,32,,{sample.number},,,"))
    return given


_numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
# Values that are nearly right reach further into the parser than random ones.
_nearly = st.one_of(
    _json,
    st.sampled_from([*DIGITAL.full().values(), *PAPER.full().values(), *KINDS]),
    st.sampled_from(["01,32,,26112000000000000001,113.00,20260301,,", "１１３", "2026/3/1", "O"]),
)
_fields = st.sampled_from(Question.__struct_fields__)
questions = st.dictionaries(_fields, _nearly) | st.dictionaries(st.text() | _fields, _nearly)
