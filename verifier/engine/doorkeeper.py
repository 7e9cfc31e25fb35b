"""Doorkeeper: a cache that fills takes in what is asked for again, not all that passes by.

Most of what bulk asks about is asked about once. Kept, it would drive out what is in use, and what
it costs to make room for a record is more than to make the record. Under popularities as of Zipf
this keeps 2 to 6 of a hundred more questions from the database than taking in everything does
(docs/performance.md). The idea is TinyLFU's (Einziger, Friedman, Manes 2017).
"""

from __future__ import annotations

from collections.abc import Iterable

_BITS_PER_ENTRY = 8


class Doorkeeper:
    """Roughly which keys came lately, at about a byte for each entry of the cache.

    Keys that share a bit pass for one another, which only lets one in early. All is forgotten
    after as many keys as the cache has entries.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        # A power of two.
        self._size = 1 << (entries * _BITS_PER_ENTRY - 1).bit_length()
        self._bits = bytearray(self._size // 8 or 1)
        self._came = 0

    def again(self, keys: Iterable[str]) -> set[str]:
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
