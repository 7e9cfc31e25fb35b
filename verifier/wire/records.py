"""Records: what memory keeps of a known invoice, with its part of a matching answer in bytes."""

from __future__ import annotations

from sys import intern

import msgspec

from verifier.invoice.codes import region_of_code, region_of_number
from verifier.invoice.identity import DIGITAL_LENGTH, identity_of
from verifier.invoice.kinds import STATUSES, USABLE_STATUSES
from verifier.invoice.record import (
    ASKS_MORE,
    ASKS_TOTAL,
    MAX_NAME,
    MAX_SHOWN,
    USABLE,
    Traits,
    asks_of,
    traits_of,
)
from verifier.state import Reading

# A value that is encoded already.
Json = bytes | msgspec.Raw

# ``members`` of more bytes than this may hold a name beyond MAX_NAME: all but the names takes less
# than 2,000 bytes. Once names are cut, they take less than 6,000.
_LONG = 3_600


class Record(msgspec.Struct, frozen=True, gc=False):
    """One invoice of the ledger (``invoice.record.Held``), at a few hundred bytes.

    A million records share a few hundred traits and a few thousand dates. ``members`` is
    what every matching answer shows, from ``verdict`` to ``invoice``, encoded once. Tax ids, which
    are seldom compared, are read from it. ``gc=False`` keeps a large cache out of the garbage
    collector; that a record is also the finding of its read keeps the cache small.
    """

    traits: Traits
    date: str
    amount: str
    total: str
    check_code: str
    members: bytes
    # The state of the ledger that shows it.
    reading: Reading

    def _text(self, member: bytes) -> str:
        start = self.members.index(member) + len(member)
        return self.members[start : self.members.index(b'"', start)].decode()

    @property
    def seller_tax_id(self) -> str:
        """The seller's tax id, empty when the ledger has none."""
        return self._text(b'"seller_tax_id":"')

    @property
    def buyer_tax_id(self) -> str:
        """The buyer's tax id, empty when the ledger has none (an individual)."""
        return self._text(b'"buyer_tax_id":"')


class Absence(msgspec.Struct, frozen=True, gc=False):
    """That a key is not in the ledger, in the state of ``reading``."""

    reading: Reading


# What a read of the ledger said about one key.
Finding = Record | Absence


# How a match begins, and its use, by status.
_HEADS = {
    status: (
        (
            f'"verdict":"match","status":"{status}",'
            f'"usable":{"true" if status in USABLE_STATUSES else "false"},"invoice":'
        ),
        USABLE if status in USABLE_STATUSES else status,
    )
    for status in STATUSES
}


def _reference(key: str) -> str:
    code, number = identity_of(key)
    return f'{{"code":"{code}","number":"{number}"}}'


def _linked(red_letter_of: str, red_letters: str) -> bytes:
    """The end of an invoice that red letters link to others."""
    origin = _reference(red_letter_of) if red_letter_of else "null"
    count, *keys = red_letters.split(",")
    shown = ",".join(map(_reference, keys[:MAX_SHOWN]))
    more = f',"red_letters_count":{count}' if int(count or 0) > MAX_SHOWN else ""
    return f',"red_letter_of":{origin},"red_letters":[{shown}]{more}}}'.encode()


def _cut(name: Json) -> bytes:
    """The first MAX_NAME characters of a name; plain SQL may have stored more."""
    text: str = msgspec.json.decode(name)
    return msgspec.json.encode(text[:MAX_NAME])


def build(
    key: str,
    kind: str,
    date: str,
    amount: str,
    tax: str,
    total: str,
    check_code: str,
    seller_tax_id: str,
    buyer_tax_id: str,
    status: str,
    red_letter_of: str,
    red_letters: str,
    seller_name: Json,
    buyer_name: Json,
    reading: Reading,
) -> Record:
    """A record from one row of the ledger, as a reading shows it.

    Money is canonical text with two decimals; ``red_letter_of`` is a key or empty, ``red_letters``
    empty or how many there are and the keys of the first MAX_SHOWN, with commas in between. Names
    are free text and come as JSON; everything else is text that the ledger's checks admit, which
    needs no escaping in JSON.
    """
    if len(key) == DIGITAL_LENGTH:
        code, number, region = "", key, region_of_number(key)
        asks = ASKS_TOTAL if key[:2] == date[2:4] else ASKS_MORE
    else:
        code, number = identity_of(key)
        region, asks = region_of_code(code), asks_of(kind, code)
    beginning, use = _HEADS[status]
    head = (
        f'{beginning}{{"kind":"{kind}","code":"{code}","number":"{number}","date":"{date}",'
        f'"region":"{region}","amount":"{amount}","tax":"{tax}",'
        f'"total":"{total}","seller_tax_id":"{seller_tax_id}","seller_name":'
    )
    middle = f',"buyer_tax_id":"{buyer_tax_id}","buyer_name":'
    if red_letter_of or red_letters:
        tail = _linked(red_letter_of, red_letters)
    else:
        tail = b',"red_letter_of":null,"red_letters":[]}'
    members = b"".join((head.encode(), seller_name, middle.encode(), buyer_name, tail))
    if len(members) > _LONG:
        seller, buyer = _cut(seller_name), _cut(buyer_name)
        members = b"".join((head.encode(), seller, middle.encode(), buyer, tail))
    return Record(
        traits_of(kind, use, asks), intern(date), amount, total, check_code, members, reading
    )
