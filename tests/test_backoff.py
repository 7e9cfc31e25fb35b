"""Pauses after failures."""

from __future__ import annotations

import pytest

from verifier.backoff import backoff


def test_pauses_double_up_to_a_bound() -> None:
    """From the first one on, however many there were."""
    pauses = [backoff(failures, 0.2, 10.0, 1.0) for failures in (0, 1, 2, 3, 7, 10_000)]
    assert pauses == pytest.approx([0.2, 0.2, 0.4, 0.8, 10.0, 10.0])


@pytest.mark.parametrize("failures", [1, 5, 10_000])
def test_chance_takes_away_up_to_a_half(failures: int) -> None:
    """Also when the bound is reached: else all who wait so long would come back together."""
    whole = backoff(failures, 0.2, 2.0, 1.0)
    assert backoff(failures, 0.2, 2.0, 0.0) == pytest.approx(whole / 2)
