"""Which invoices of a block are taken back, how far, and when.

Rows come in blocks of 64. The last two rows of most blocks are red letters of one or two blue
invoices earlier in the same block, so a link never leaves it.
"""

from __future__ import annotations

from struct import Struct

import msgspec

from verifier.synthetic.draws import slots
from verifier.synthetic.profiles import tax_of

BLOCK = 64
_BLUE = BLOCK - 2
_HEAD = Struct("<BBHBB")
HEAD_SIZE = _HEAD.size

# A red letter takes that many eighths of its blue invoice; a negative number takes what a
# red letter of that many eighths has left.
_FULL = 8
_PLANS: tuple[tuple[tuple[int, int], ...], ...] = slots(
    [
        # (which of the two chosen invoices, eighths) of the last two rows, and the weight
        (((0, _FULL), (1, _FULL)), 8),
        (((0, _FULL), (1, 3)), 5),
        (((0, 5), (0, -5)), 1),
        (((0, 2), (0, 3)), 1),
        ((), 1),
    ],
    256,
)


class RedLetter(msgspec.Struct, frozen=True, gc=False):
    """A red letter: the row of its blue invoice in the block, its share, and its delay in days."""

    blue: int
    eighths: int
    delay: int


def plan(head: bytes) -> tuple[dict[int, RedLetter], dict[int, str]]:
    """The red letters of a block and the statuses of their blue invoices, each by row.

    ``head`` is HEAD_SIZE random bytes.
    """
    choice, first, second, delay, more = _HEAD.unpack_from(head)
    blues = (first % _BLUE, (first % _BLUE + 1 + second % (_BLUE - 1)) % _BLUE)
    reds = {
        _BLUE + row: RedLetter(blues[which], eighths, 1 + delay % 60 + row * (more % 30))
        for row, (which, eighths) in enumerate(_PLANS[choice])
    }
    left: dict[int, int] = {}
    for red in reds.values():
        taken = red.eighths if red.eighths > 0 else _FULL + red.eighths
        left[red.blue] = left.get(red.blue, _FULL) - taken
    statuses = {
        blue: "partially_red_flushed" if eighths else "red_flushed"
        for blue, eighths in left.items()
    }
    return reds, statuses


def taken(amount: int, rate: int, eighths: int) -> tuple[int, int]:
    """The amount and tax in fen that a red letter takes back, as positive numbers."""
    if eighths == _FULL:
        return amount, tax_of(amount, rate)
    part = amount * abs(eighths) // _FULL
    tax = tax_of(part, rate)
    return (part, tax) if eighths > 0 else (amount - part, tax_of(amount, rate) - tax)
