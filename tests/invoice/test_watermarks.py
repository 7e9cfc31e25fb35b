"""Which moments may be a watermark (A7)."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.invoice.samples import NOON
from verifier.invoice.watermarks import out_of_range


@pytest.mark.parametrize(
    ("moment", "admitted"),
    [
        ("2000-01-01T00:00:00Z", True),
        ("2000-01-01T07:59:59+08:00", False),
        ("1999-12-31T23:59:59.999Z", False),
        ("0001-01-01T00:00:00+14:00", False),
        ("2026-11-24T12:00:00+08:00", True),
        ("2026-11-24T12:00:05+08:00", True),
        ("2026-11-24T12:00:05.001+08:00", False),
        ("2027-11-24T00:00:00Z", False),
        ("9999-12-31T23:59:59-14:00", False),
    ],
)
def test_a_watermark_is_from_2000_until_now(moment: str, admitted: bool) -> None:
    """Moments from 2000 until five seconds from now are taken, others refused with the range."""
    error = out_of_range(datetime.fromisoformat(moment), NOON)
    if admitted:
        assert error is None
    else:
        assert error is not None
        assert (error.field, error.code) == ("complete_until", "out_of_range")
        assert error.expected == "2000-01-01T00:00:00Z … 2026-11-24T04:00:05Z"
