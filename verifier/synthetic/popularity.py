"""Which invoice is asked about: Zipf-shaped popularity over the rows of a ledger."""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal, localcontext
from math import gcd

_EXACT_RANKS = 64
_SCALE = 10**15


class Popularity:
    """Draws rows so that the one of rank ``k`` is asked about in proportion to ``k ** -exponent``.

    The first 64 ranks are exact; later ones share the weight of a bucket whose ends are an eighth
    apart. Ranks are scattered over the ledger: the popular rows are not the first ones. Weights
    come from Decimal, whose ``ln`` and ``exp`` are correctly rounded everywhere. ``exponent`` 0
    asks about all rows alike. ValueError for less than one row or an exponent outside 0 to 3.
    """

    def __init__(self, rows: int, exponent: Decimal) -> None:
        if rows < 1:
            raise ValueError(f"rows: expected at least 1, got {rows}")
        if not (exponent.is_finite() and 0 <= exponent <= 3):
            raise ValueError(f"zipf: expected an exponent from 0 to 3, got {exponent}")
        self._rows = rows
        self._starts: list[int] = []
        self._reached: list[int] = []
        total = 0
        start = 1
        with localcontext(prec=30):
            while start <= rows:
                end = min(rows + 1, start + 1 if start <= _EXACT_RANKS else start + start // 8)
                middle = Decimal(start + end - 1) / 2
                weight = (end - start) * (-exponent * middle.ln()).exp()
                self._starts.append(start)
                total += int(weight * _SCALE)
                self._reached.append(total)
                start = end
        self._starts.append(rows + 1)
        step = rows * 618_034 // 1_000_000 | 1
        while gcd(step, rows) != 1:
            step += 1
        self._step = step

    def row(self, draw: int, within: int) -> int:
        """A row for two random numbers of 64 and 32 bits."""
        bucket = bisect_right(self._reached, draw * self._reached[-1] >> 64)
        start, end = self._starts[bucket], self._starts[bucket + 1]
        rank = start + ((end - start) * within >> 32)
        return rank * self._step % self._rows
