"""Absence by watermark, and the scope of dates by the calendar of Asia/Shanghai."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.engine.desk import ABSENT, Desk
from tests.engine.fakes import Clock
from tests.invoice.samples import NOON, Sample
from verifier.invoice.verdict import DAY


@pytest.mark.parametrize(
    ("date", "watermarks", "verdict", "retry_after"),
    [
        # NOON is 2026-11-24 12:00 in Shanghai; unset counts as complete until noon of the 23rd.
        ("2026-11-22", {}, "not_found", 0),
        ("2026-11-23", {}, "pending", 3600),
        ("2026-11-24", {}, "pending", 3600),
        ("2026-11-23", {"3100": NOON}, "pending", 3600),  # another region's says nothing
        ("2026-11-23", {"1100": NOON}, "not_found", 0),
        ("2026-11-24", {"1100": NOON}, "pending", 3600),
        ("2026-11-23", {"1100": NOON - DAY / 2}, "not_found", 0),
        ("2026-11-23", {"1100": NOON - DAY / 2 - 1}, "pending", 1),
        ("2026-11-23", {"1100": NOON - DAY / 2 - 600.5}, "pending", 601),
        ("2026-11-22", {"1100": NOON - 3 * DAY}, "pending", 3600),  # set, and behind
    ],
)
async def test_absent_by_watermark(
    date: str, watermarks: dict[str, float], verdict: str, retry_after: int
) -> None:
    """Absent means not_found only if the invoice's own region is complete for its day."""
    desk = Desk()
    desk.ledger.watermarks = watermarks
    for source in ("replica", "cache"):
        answer = await desk.ask(ABSENT.minimal() | {"date": date})
        assert (answer.verdict, answer.retry_after) == (verdict, retry_after)
        assert answer.source == source


async def test_an_unset_watermark_is_relative_to_the_reading() -> None:
    """A remembered absence proves nothing about what was issued after it was read."""
    midnight = datetime.fromisoformat("2026-11-25T00:00:00+08:00").timestamp()
    desk = Desk(clock=Clock(midnight + DAY - 0.5))
    given = ABSENT.minimal() | {"date": "2026-11-24"}
    assert (await desk.ask(given)).verdict == "pending"
    desk.clock.now += 1
    answer = await desk.ask(given)
    assert (answer.source, answer.verdict, answer.retry_after) == ("cache", "pending", 1)
    desk.clock.now += 0.5
    assert (await desk.ask(given)).verdict == "not_found"


@pytest.mark.parametrize(
    ("date", "valid_from", "out_after"),
    [
        ("2026-11-25", "2026-11-25", "2031-11-25"),
        ("2024-02-29", "2024-02-29", "2029-02-28"),
        ("2023-02-28", "2023-02-28", "2028-02-29"),  # 29 February looks back to the 28th
    ],
)
@pytest.mark.parametrize("remembered", [False, True])
async def test_the_scope_turns_at_midnight_in_shanghai(
    date: str, valid_from: str, out_after: str, remembered: bool
) -> None:
    """The same verifier follows the calendar, from the first second of a day to the last."""
    sample = Sample(number=f"{date[2:4]}112000000000000001", date=date)
    begins = datetime.fromisoformat(f"{valid_from}T00:00:00+08:00").timestamp()
    ends = datetime.fromisoformat(f"{out_after}T00:00:00+08:00").timestamp() + DAY
    desk = Desk(sample, clock=Clock(begins - 10), max_staleness=1e9 if remembered else 2.0)
    assert (await desk.ask(sample.minimal())).errors[0].code == "date_in_future"
    desk.clock.now = begins - 0.001
    assert (await desk.ask(sample.minimal())).errors[0].code == "date_in_future"
    for now in (begins, begins + 3600, ends - 0.001):
        desk.clock.now = now
        assert (await desk.ask(sample.minimal())).verdict == "match"
    desk.clock.now = ends
    assert (await desk.ask(sample.minimal())).errors[0].code == "out_of_window"
