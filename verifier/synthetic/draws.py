"""Randomness that is the same everywhere: bytes from a label, and weighted tables.

``random`` promises the same sequence only for ``random()``, and floating-point functions differ
in their last bit between C libraries; SHAKE-128 and integers do neither. It also gives any block
of the ledger without those before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import shake_128
from typing import TypeVar

T = TypeVar("T")


def draw(label: str, size: int) -> bytes:
    """``size`` random bytes that belong to this label."""
    return shake_128(label.encode(), usedforsecurity=False).digest(size)


def slots(weights: Iterable[tuple[T, int]], size: int) -> tuple[T, ...]:
    """A table of ``size`` slots in which each item has its share of the whole-number weights.

    Indexing it with uniform bits draws an item. Off by less than one slot; weight 0 has none.
    """
    pairs = list(weights)
    total = sum(weight for _, weight in pairs)
    table: list[T] = []
    reached = 0
    for item, weight in pairs:
        reached += weight
        table.extend([item] * (reached * size // total - len(table)))
    return tuple(table)
