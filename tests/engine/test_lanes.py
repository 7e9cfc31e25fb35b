"""Tests of when a lane has another read worth its cost."""

from __future__ import annotations

import pytest

from verifier.engine.lanes import JUST_NOW, Lane


@pytest.mark.parametrize(("seconds", "ready"), [(0.9 * JUST_NOW, False), (JUST_NOW, True)])
def test_a_read_has_begun_just_now_for_so_long(seconds: float, ready: bool) -> None:
    """Whoever comes back to the lane after that long finds that the next one may begin."""
    lane = Lane(most_waiting=9, most_reads=2, worth=2)
    lane.queue.append(("a", 0.0))
    lane.begin(0.0)
    assert lane.is_ready(seconds) is ready
