"""What one process shows of itself."""

from __future__ import annotations

import asyncio

from verifier.metrics.exposition import Exposition
from verifier.metrics.families import taken


async def test_questions_have_their_turn_between_families() -> None:
    """The text is of the moment that it was asked for, however long others keep it waiting."""
    shown = Exposition()
    turns = 0
    ended = asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not ended.is_set():
            shown.metrics.answers.add("verify", "match")
            turns += 1
            await asyncio.sleep(0)

    asking = asyncio.create_task(others())
    text = await shown.text()
    ended.set()
    await asking
    assert turns >= len(taken(shown.metrics.registry))
    assert 'verdict="match"' not in text.decode()
