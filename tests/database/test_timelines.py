"""Tests of which timelines are known, and when all have been heard who might know a later one."""

from __future__ import annotations

import asyncio

from verifier.database.timelines import Timelines


def test_a_primary_of_a_lower_timeline_is_outdated() -> None:
    """Whoever has shown the higher one: the server that fell behind is refused (A3)."""
    timelines = Timelines()
    timelines.noticed("7", 2)
    timelines.noticed("7", 1)
    assert timelines.outdated("7", 1)
    assert not timelines.outdated("7", 2)
    assert not timelines.outdated("8", 1)


async def test_the_primary_waits_until_each_witness_was_tried() -> None:
    """A worker that has just started may not know yet that its primary was left behind (A3)."""
    timelines = Timelines(["one", "two"])
    waiting = asyncio.create_task(timelines.heard())
    timelines.witness("one")
    timelines.witness("one")
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not timelines.complete
    timelines.witness("two")
    await waiting
    assert timelines.complete


def test_clusters_are_remembered_up_to_a_bound() -> None:
    """A DSN that leads to one new cluster after the other does not fill the memory."""
    timelines = Timelines()
    for number in range(100):
        timelines.noticed(str(number), 5)
    assert sum(timelines.highest(str(number)) > 0 for number in range(100)) == 8
    assert timelines.highest("99") == 5
