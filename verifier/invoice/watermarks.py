"""Watermarks: until which moments a region may say that it is complete (contract.md §4)."""

from __future__ import annotations

from datetime import UTC, datetime

from verifier.invoice.fields import FieldError

FIELD = "complete_until"

# In seconds since the epoch. No invoice in scope is anywhere near as old.
OLDEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()

# Seconds by which the clocks of those who ingest and of the workers may differ.
CLOCK_TOLERANCE = 5.0


def out_of_range(moment: datetime, now: float) -> FieldError | None:
    """What is wrong with a watermark that is given ``now`` (seconds since the epoch), if anything.

    A region cannot know what will have been issued by a moment in the future. ``moment`` has an
    offset.
    """
    latest = now + CLOCK_TOLERANCE
    if OLDEST <= moment.timestamp() <= latest:
        return None
    return FieldError(FIELD, "out_of_range", f"{_text(OLDEST)} … {_text(latest)}")


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
