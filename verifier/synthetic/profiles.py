"""What each kind, region and day of the synthetic ledger looks like: weights and curves.

The shares are plausible, not statistics. Money is in fen.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

from verifier.invoice.codes import REGIONS
from verifier.synthetic.draws import slots


class Profile(msgspec.Struct, frozen=True):
    """How invoices of one kind look.

    ``weight`` is the share of the family in per mille; ``rates`` are percent of tax, drawn
    evenly; half of the amounts are below ``median`` fen, and two thirds within ``spread``/256
    doublings of it; ``individuals`` of 16 buyers have no tax id; ``region`` is where all of them
    are issued, if there is one such region. A kind without a profile is not in the ledger.
    """

    kind: str
    weight: int
    rates: tuple[int, ...]
    median: int
    spread: int
    individuals: int
    region: str = ""


_COMMON = (13, 13, 6, 6, 9, 3, 1, 0)

# The family of 数电: issued since December 2021, about 97 % of invoices by now.
DIGITAL = (
    Profile("digital_ordinary", 560, _COMMON, 45_000, 560, 6),
    Profile("digital_special", 330, _COMMON, 380_000, 600, 0),
    Profile("digital_motor_vehicle", 12, (13,), 12_500_000, 200, 11),
    Profile("digital_used_vehicle", 8, (0, 0, 1, 3), 5_500_000, 260, 12),
    Profile("digital_paper_special", 8, _COMMON, 380_000, 600, 0),
    Profile("digital_paper_ordinary", 8, _COMMON, 45_000, 560, 4),
    Profile("rail_ticket", 50, (9,), 21_000, 280, 5),
    Profile("air_itinerary", 24, (9,), 98_000, 190, 5),
)

# Everything before it.
OLD = (
    Profile("vat_e_ordinary", 350, _COMMON, 26_000, 520, 7),
    Profile("vat_special", 220, _COMMON, 420_000, 600, 0),
    Profile("vat_ordinary", 150, _COMMON, 60_000, 560, 4),
    Profile("vat_e_special", 90, _COMMON, 300_000, 560, 0),
    Profile("vat_roll", 60, (1, 3, 6, 13), 7_500, 320, 12),
    Profile("vat_toll", 50, (3, 3, 3, 9), 4_200, 300, 3),
    Profile("blockchain", 30, (1, 3, 6, 6), 15_000, 420, 6, "4403"),
    Profile("motor_vehicle", 20, (13,), 12_500_000, 200, 11),
    Profile("used_vehicle", 20, (0, 0, 1, 3), 5_500_000, 260, 12),
    Profile("vat_freight", 10, (9,), 350_000, 360, 0),
)

# Roughly by size of economy; each city is counted apart from its province.
REGION_WEIGHTS: tuple[tuple[str, int], ...] = tuple(
    zip(
        REGIONS,
        (
            70, 22, 32, 19, 19, 18, 12, 11, 12, 72,
            98, 72, 20, 36, 34, 14, 24, 56, 20, 42,
            40, 36, 74, 66, 22, 8, 24, 44, 17, 23,
            4, 24, 10, 4, 5, 14,
        ),
        strict=True,
    )
)  # fmt: skip

# Percent of 数电 by year of issue; there is none before December 2021.
_FIRST_DIGITAL = date(2021, 12, 1)
_DIGITAL_SHARE = {2021: 20, 2022: 60, 2023: 86, 2024: 93, 2025: 96}
_DIGITAL_SHARE_NOW = 97

# Invoices by hour of the day in Shanghai, from 8 o'clock; none is so late that UTC changes the day.
HOUR_WEIGHTS = (
    (8, 3), (9, 11), (10, 15), (11, 12), (12, 5), (13, 7), (14, 13), (15, 14),
    (16, 13), (17, 9), (18, 4), (19, 3), (20, 2), (21, 2), (22, 1),
)  # fmt: skip


def days(until: date) -> Iterator[tuple[date, int, int]]:
    """The days of the five years before ``until``: ``(day, weight, percent of 数电)``.

    Later months weigh more, weekends less and the last three days of a month more.
    """
    try:
        first = until.replace(year=until.year - 5) + timedelta(days=1)
    except ValueError:  # 29 February
        first = date(until.year - 5, 3, 1)
    for offset in range((until - first).days):
        day = first + timedelta(days=offset)
        months = (day.year - first.year) * 12 + day.month - first.month
        growth = 100 + 8 * months
        weekday = (20, 20, 20, 20, 20, 7, 5)[day.weekday()]
        closing = 9 if (day + timedelta(days=3)).month != day.month else 5
        digital = _DIGITAL_SHARE.get(day.year, _DIGITAL_SHARE_NOW) if day >= _FIRST_DIGITAL else 0
        yield day, growth * weekday * closing, digital


def clocks(size: int) -> tuple[str, ...]:
    """Times of issue in UTC as the end of a timestamp (``T02:14:26Z``), as many as the hours say.

    Shanghai is eight hours ahead all year; every hour in use falls on the same day in UTC.
    """
    return tuple(
        f"T{hour - 8:02d}:{index * 7 % 60:02d}:{index * 13 % 60:02d}Z"
        for index, hour in enumerate(slots(HOUR_WEIGHTS, size))
    )


def curve(median: int, spread: int) -> tuple[int, ...]:
    """Amounts in fen for the sum of four random bytes (0 to 1,020, and one more as the end).

    That sum is nearly normal (deviation 148) and the amount doubles every 256 steps of the
    exponent, so the amounts are nearly log-normal; powers of two are joined by straight lines,
    which keeps it in whole numbers.
    """
    octave = median.bit_length() - 1
    middle = octave * 256 + ((median << 8 >> octave) & 255)
    exponents = (middle + (step - 510) * spread // 148 for step in range(1022))
    return tuple(((256 + (x & 255)) << (x >> 8)) >> 8 for x in exponents)


def tax_of(amount: int, rate: int) -> int:
    """The tax in fen on ``amount`` fen at ``rate`` percent, half a fen rounded up."""
    return (amount * rate + 50) // 100


_CENTS = tuple(f".{fen:02d}" for fen in range(100))


def yuan(fen: int) -> str:
    """Money as the ledger writes it: ``-1234.50``."""
    return f"{fen // 100}{_CENTS[fen % 100]}" if fen >= 0 else f"-{-fen // 100}{_CENTS[-fen % 100]}"
