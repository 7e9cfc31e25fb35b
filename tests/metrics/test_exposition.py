"""What one process shows of itself."""

from __future__ import annotations

import asyncio

import pytest

from verifier.metrics import exposition
from verifier.metrics.exposition import Exposition
from verifier.metrics.families import taken


async def test_questions_have_their_turn_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is of the moment that it was asked for, however long others keep it waiting."""
    monkeypatch.setattr(exposition, "_PIECE", 0.0)
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


async def test_nobody_waits_a_round_for_each_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a worker that is full, a round takes tens of milliseconds, and a scrape has no second."""
    monkeypatch.setattr(exposition, "_PIECE", 60.0)
    text = Exposition().text()
    text.send(None)
    with pytest.raises(StopIteration, match="verifier_"):
        text.send(None)
