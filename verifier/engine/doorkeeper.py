"""Doorkeeper: a full cache admits what is asked for again, not all that passes by.

Most of what bulk asks about is asked about once. If it were kept it would evict what is in use, and
making room for a record costs more than making the record. With popularities that follow Zipf's law
the database gets 2 to 6 questions in a hundred less than if everything were admitted
(docs/performance.md). The idea is TinyLFU's (Einziger, Friedman, Manes 2017).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

_BITS_PER_ENTRY = 8

K = TypeVar("K", bound=Hashable)


class Doorkeeper:
    """Remembers roughly which keys came lately, in about a byte for each entry of the cache.

    Keys that share a bit pass for one another, which merely admits one of them early. It starts
    afresh after as many keys as the cache has entries.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        # A power of two.
        self._size = 1 << (entries * _BITS_PER_ENTRY - 1).bit_length()
        self._bits = bytearray(self._size // 8 or 1)
        self._came = 0

    def again(self, keys: Iterable[K]) -> set[K]:
        """Those of the keys that came before."""
        bits, mask = self._bits, self._size - 1
        returning = set()
        for key in keys:
            place = hash(key) & mask
            at, bit = place >> 3, 1 << (place & 7)
            if bits[at] & bit:
                returning.add(key)
            else:
                bits[at] |= bit
                self._came += 1
        if self._came >= self._entries:
            self._bits = bytearray(len(bits))
            self._came = 0
        return returning
