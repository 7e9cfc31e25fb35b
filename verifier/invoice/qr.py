"""The QR code on an invoice: its fields, its checksum, and the URL form (domain.md §6).

``01,<type>,<code>,<number>,<amount>,<yyyymmdd>,<check code>,<CRC>``, sometimes with a comma at
the end, sometimes without the CRC. With a 20-digit number the text may end before the check code,
which such an invoice lacks. The fields come back as they were written: they are repaired and
judged like those of any other question (fields.py).
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import msgspec

from verifier.invoice.identity import DIGITAL_LENGTH, NUMBER_LENGTH
from verifier.invoice.kinds import KINDS

_POLYNOMIAL = 0x8005
_REFLECTED = 0xA001  # the same polynomial, bits in reverse


def _forward(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1) ^ (_POLYNOMIAL if value & 0x8000 else 0)
    return value & 0xFFFF


def _backward(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_REFLECTED if byte & 1 else 0)
    return byte


_FORWARD = tuple(map(_forward, range(256)))
_BACKWARD = tuple(map(_backward, range(256)))

# The type that the QR code of a kind gives.
TYPES: dict[str, str] = {kind.name: kind.qr_types[0] for kind in KINDS.values() if kind.qr_types}
# What a type says about an invoice that has a code, when the code itself does not say the kind.
_PRESUMED = {
    kind_type: kind.name
    for kind in KINDS.values()
    if not kind.digital
    for kind_type in kind.qr_types
}
_REFLECTED_TYPES = frozenset(
    [kind_type for kind in KINDS.values() if kind.reflected_crc for kind_type in kind.qr_types]
)
_PATHS = tuple([(kind.qr_path, kind.name) for kind in KINDS.values() if kind.qr_path])

_TYPE = re.compile(r"[0-9]{2}")
_FEN = re.compile(r"(-?)([0-9]{1,20})")


class Scan(msgspec.Struct, frozen=True):
    """What a QR code says, field by field as written; None where it says nothing.

    ``amount`` (without tax) is the money of an old invoice, ``total`` (with tax) that of a
    20-digit number or a URL; at most one of the two is there. ``date`` is normally ``yyyymmdd``.
    ``presumed_kind`` counts only when the code does not say the kind.
    ``checksum_ok`` is None when the string carries no CRC.
    """

    code: str | None = None
    number: str | None = None
    amount: str | None = None
    total: str | None = None
    date: str | None = None
    check_code: str | None = None
    presumed_kind: str | None = None
    checksum_ok: bool | None = None


def _bytes(text: str) -> bytes:
    # A lone surrogate has no UTF-8 form; it is a misread like any other.
    return text.encode(errors="replace")


def _feed(value: int, data: bytes) -> int:
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _FORWARD[value >> 8 ^ byte]
    return value


def crc(text: str) -> str:
    """CRC-16 as invoices use it: 0x8005, initial 0, not reflected, no final xor; as in ``FEE8``."""
    return f"{_feed(0, _bytes(text)):04X}"


def crc_modbus(text: str) -> str:
    """CRC-16/MODBUS (0x8005 reflected, initial FFFF), which rail tickets use (M)."""
    value = 0xFFFF
    for byte in _bytes(text):
        value = value >> 8 ^ _BACKWARD[(value ^ byte) & 0xFF]
    return f"{value:04X}"


def _agrees(body: str, written: str, kind_type: str) -> bool:
    """Whether ``written`` is the CRC of ``body``, with or without the comma between them."""
    written = written.strip().upper()
    value = _feed(0, _bytes(body))
    if written in (f"{value:04X}", f"{_feed(value, b','):04X}"):
        return True
    return kind_type in _REFLECTED_TYPES and written in (crc_modbus(body), crc_modbus(f"{body},"))


def parse(text: str) -> Scan | None:
    """The fields of a scanned string, or None when it has no known form. Never raises.

    Full-width characters must have been narrowed before. A wrong checksum is no reason for None:
    it is a hint about a misread, and the fields are still the question.
    """
    text = text.strip()
    if text[:4].lower() == "http":
        return _parse_url(text)
    parts = text.split(",")
    if len(parts) == 9 and not parts[8].strip():
        del parts[8]
    if len(parts) not in (6, 7, 8) or parts[0].strip() != "01":
        return None
    kind_type = parts[1].strip()
    if not _TYPE.fullmatch(kind_type):
        return None
    checksum_ok = None
    if len(parts) == 8 and parts[7].strip():
        checksum_ok = _agrees(",".join(parts[:7]), parts[7], kind_type)
    said = [part if part.strip() else None for part in parts[2:7]]
    code, number, money, date = said[:4]
    # Without a code it is the digital family, even if its number was misread; eight digits alone
    # are an old invoice whose code is missing.
    length = len(number.strip()) if number else 0
    digital = length == DIGITAL_LENGTH or (code is None and length != NUMBER_LENGTH)
    if len(parts) == 6 and not digital:
        # Its check code is what was cut off.
        return None
    return Scan(
        code=code,
        number=number,
        amount=None if digital else money,
        total=money if digital else None,
        date=date,
        check_code=said[4] if len(said) > 4 else None,
        presumed_kind=None if digital else _PRESUMED.get(kind_type),
        checksum_ok=checksum_ok,
    )


def _parse_url(text: str) -> Scan | None:
    """The URL of a Shenzhen blockchain invoice; ``total_amount`` is in fen, with tax."""
    try:
        url = urlsplit(text)
        given = parse_qs(url.query)
    except ValueError:
        return None
    if url.scheme not in ("http", "https") or not url.netloc:
        return None
    kind = next((kind for path, kind in _PATHS if url.path.endswith(path)), None)
    if kind is None:
        return None
    numbers, totals = given.get("bill_num", []), given.get("total_amount", [])
    if len(numbers) != 1 or not numbers[0].strip() or len(totals) > 1:
        return None
    total = None
    if totals:
        fen = _FEN.fullmatch(totals[0])
        if fen is None:
            return None
        yuan, rest = divmod(int(fen[2]), 100)
        total = f"{fen[1]}{yuan}.{rest:02d}"
    return Scan(number=numbers[0], total=total, presumed_kind=kind)


def encode(
    kind: str,
    code: str,
    number: str,
    money: str,
    date: str,
    check_code: str,
    *,
    comma_in_crc: bool = False,
    trailing_comma: bool = False,
) -> str:
    """The QR string of an invoice, the inverse of ``parse``.

    ``money`` is the amount without tax for a kind with a code, the total with tax otherwise, as
    it shall be written; ``date`` is ``2026-03-01``. KeyError for a kind that has no QR type
    (``TYPES``).
    """
    kind_type = TYPES[kind]
    body = f"01,{kind_type},{code},{number},{money},{date.replace('-', '')},{check_code}"
    checksum = crc_modbus if kind_type in _REFLECTED_TYPES else crc
    written = checksum(f"{body}," if comma_in_crc else body)
    return f"{body},{written}{',' if trailing_comma else ''}"
