"""Any text at the parsers: an answer or a declared error, and what is canonical stays as it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random

import msgspec
import pytest

from tests.fuzz import mutate, samples
from verifier.errors import BadRequest
from verifier.invoice import fields, qr
from verifier.invoice.claim import Claim, Invalid, Item, Question
from verifier.invoice.fields import FieldError
from verifier.invoice.names import MAX_ERRORS
from verifier.invoice.parsing import parse
from verifier.pacing import Turns
from verifier.wire import lines, schemas, status_lines
from verifier.wire.batches import read_batch, read_lines
from verifier.wire.questions import decode_one, decode_question
from verifier.wire.tokens import Tokens

SEED = int(os.environ.get("SEED", "1"))
TEXTS = max(1_000, int(os.environ.get("INPUTS", "0")) // 4)

OLDEST, TODAY = "2020-01-01", "2025-01-01"

_CODES, _HINTS = (
    frozenset(msgspec.json.schema(shape)["$defs"][shape.__name__]["properties"]["code"]["enum"])
    for shape in (schemas.FieldError, schemas.Hint)
)

# Characters that parsers treat in a way of their own, or should not.
_CHARACTERS = (
    "0123456789"
    * 3
    + "OolI-+.,/: \t\n年月日¥元０１９Ａｚ，．：－−‐\u3000\xa0\u200b\u0301\u0316\0\x1f"
    "²③Ⅳ٣৩𝟘é发\ud800\udc00\U0001f600%&=?#\"'\\ABCXYZabcxyz"
)
_SCHEMES = ("https://x/verify/scan?bill_num=%s&total_amount=%s", "http://[%s]/%s", "HTTP:%s//%s")


def numbers(what: str) -> Iterator[Random]:
    """A source of its own for each text, so that one can be made again alone."""
    return (Random(f"{SEED}:{what}:{number}") for number in range(TEXTS))


def characters(random: Random) -> str:
    """Any text, mostly short."""
    length = random.choice((0, 1, 6, 8, 10, 12, 20, 20, 300, 1_100))
    return "".join(random.choices(_CHARACTERS, k=length))


def odd(random: Random, text: str) -> str:
    """The same text with a few characters changed."""
    changed = list(text)
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        at = random.randint(0, len(changed))
        changed[at : at + random.choice((0, 1, 1, 3))] = random.choices(
            _CHARACTERS, k=random.choice((0, 1, 1, 2))
        )
    return "".join(changed)


def value(random: Random) -> str:
    """The text of some field, more or less."""
    invoice = random.choice(samples.invoices())
    field = random.choice(invoice.__struct_fields__)
    known = getattr(invoice, field)
    if not isinstance(known, str) or random.random() < 0.2:
        return characters(random)
    return odd(random, known)


def scanned(random: Random) -> str:
    """The text of a QR code, more or less."""
    invoice = random.choice(samples.invoices())
    if random.random() < 0.15:
        return random.choice(_SCHEMES) % (value(random), value(random))
    if random.random() < 0.1:
        return characters(random)
    kind = random.choice(sorted(qr.TYPES))
    money = invoice.amount if invoice.code else invoice.total
    text = qr.encode(
        kind, invoice.code, invoice.number, money, invoice.date, invoice.check_code,
        comma_in_crc=random.random() < 0.5, trailing_comma=random.random() < 0.5,
    )  # fmt: skip
    return odd(random, text)


_FIELDS: Mapping[str, Callable[[str], str | FieldError]] = {
    "code": fields.parse_code,
    "number": fields.parse_number,
    "date": lambda text: fields.parse_date(text, OLDEST, TODAY),
    "amount": lambda text: fields.parse_money("amount", text),
    "check_code": lambda text: fields.parse_check_code(text, None),
    "buyer_tax_id": lambda text: fields.parse_tax_id("buyer_tax_id", text),
    "kind": fields.parse_kind,
}


@pytest.mark.parametrize("field", _FIELDS)
def test_what_a_field_comes_out_as_stays_as_it_is(field: str) -> None:
    """Any text is an error of its field, or has a canonical form that is its own."""
    parse_field = _FIELDS[field]
    for random in numbers(field):
        text = value(random)
        parsed = parse_field(text)
        if isinstance(parsed, FieldError):
            assert (parsed.field, parsed.code in _CODES) == (field, True), text
        else:
            assert parse_field(parsed) == parsed, text


def test_any_scan_is_fields_or_nothing() -> None:
    """A scan says each field as text with something in it, and reads the same with spaces about."""
    for random in numbers("qr"):
        text = scanned(random)
        scan = qr.parse(text)
        assert qr.parse(f" {text}\r\n") == scan, text
        if scan is not None:
            said = {scan.code, scan.number, scan.amount, scan.total, scan.date, scan.check_code}
            assert all(each is None or each.strip() for each in said), text
            assert scan.amount is None or scan.total is None, text


def members(item: Item) -> Mapping[str, object]:
    """The members of a question, however it was decoded."""
    assert not isinstance(item, Invalid)
    return msgspec.structs.asdict(item) if isinstance(item, Question) else item


def judged(item: Item) -> Claim | Invalid:
    """What an item says, or what is wrong with it."""
    return item if isinstance(item, Invalid) else parse(members(item), OLDEST, TODAY)


def test_any_question_is_a_claim_or_has_known_errors() -> None:
    """Errors are few, sorted, and of documented codes; so are hints."""
    for random in numbers("question"):
        given = dict(members(decode_question(mutate.jsonic(samples.question(random)))))
        for name in random.sample(sorted(given), k=min(2, len(given))):
            given[name] = random.choice((scanned, value))(random)
        parsed = parse(given, OLDEST, TODAY)
        assert {hint.code for hint in parsed.hints} <= _HINTS, given
        if isinstance(parsed, Invalid):
            assert 0 < len(parsed.errors) <= MAX_ERRORS, given
            assert {error.code for error in parsed.errors} <= _CODES, given
            assert [each.field for each in parsed.errors] == sorted(
                each.field for each in parsed.errors
            ), given


def test_a_claim_asked_again_is_the_same() -> None:
    """What is canonical needs no repair."""
    for random in numbers("again"):
        given = dict(members(decode_question(mutate.jsonic(samples.question(random)))))
        given = {name: text for name, text in given.items() if text is not None}
        name = random.choice(sorted(given))
        given[name] = odd(random, str(given[name]))
        claim = parse(given, OLDEST, TODAY)
        if isinstance(claim, Invalid):
            continue
        code, _, number = claim.key.rpartition("-")
        said = msgspec.structs.asdict(claim) | {"code": code or None, "number": number}
        again = {each: said[each] for each in Question.__struct_fields__ if each != "qr"}
        parsed = parse(again, OLDEST, TODAY)
        if isinstance(parsed, Invalid):
            # Only the type in a QR code can say the kind of some codes.
            assert "qr" in given, given
            assert [error.code for error in parsed.errors] == ["kind_needed"], given
            continue
        assert msgspec.structs.replace(parsed, hints=()) == msgspec.structs.replace(
            claim, hints=()
        ), given
        assert all(hint.code != "repaired" for hint in parsed.hints), given


async def test_any_body_says_the_same_alone_in_a_batch_and_in_a_stream() -> None:
    """What is a question alone is the same question among others; what is none is no other."""
    turns, counts = Turns(), Counter[str]()
    for random in numbers("body"):
        body = mutate.item(random, samples.question).replace(b"\n", b" ")
        if not body.strip():
            continue
        among = await read_lines(b"{}\n%b\n{}" % body, turns)
        assert len(among) == 3, body
        try:
            alone = decode_question(body)
        except BadRequest as error:
            counts[error.code] += 1
            assert isinstance(among[1], Invalid), body
            continue
        counts["alone"] += 1
        batch = await read_batch(b'{"invoices":[{},%b,{}]}' % body, 3, len(body), turns)
        assert judged(among[1]) == judged(batch[1]) == judged(alone), body
        assert judged(decode_one(body)) == judged(alone), body
    assert counts.keys() == {"alone", "malformed_json"}


def test_any_line_is_a_row_or_has_known_errors() -> None:
    """Lines of both feeds, alone and together with others."""
    for random in numbers("line"):
        given = [mutate.item(random, samples.line) for _ in range(2)]
        read = [lines.read(each) for each in given]
        assert lines.read_many(given) == read, given
        changes = [status_lines.read_status(mutate.item(random, samples.status))]
        for each in (*read, *changes):
            if isinstance(each, Invalid):
                assert {error.code for error in each.errors} <= _CODES, given
            elif isinstance(each, lines.Row):
                assert each.text.count("\t") == len(lines.COLUMNS) - 1, given
                assert not {"\n", "\r", "\0"} & set(each.text), given


def test_any_token_is_ours_or_malformed() -> None:
    """A text that nobody signed is no token, whatever it is."""
    tokens = Tokens(lambda: b"key")
    for random in numbers("token"):
        with pytest.raises(BadRequest):
            tokens.position(random.choice((characters, value))(random))
