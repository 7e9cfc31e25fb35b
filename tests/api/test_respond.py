"""Answers in parts: what is handed to the kernel waits for a turn."""

from __future__ import annotations

import asyncio
from unittest import mock

from aiohttp.test_utils import make_mocked_request

from tests.support import other_work
from verifier.api.server.readers import Readers
from verifier.api.server.respond import Responder
from verifier.config import Answers
from verifier.metrics import Metrics
from verifier.pacing import Turns


async def test_c17_groups_of_many_answers_are_written_in_turns() -> None:
    """Large answers that are read at once make others wait for one group at a time."""
    turns = Turns()
    written: list[int] = []
    between: list[int] = []

    def writelines(group: list[bytes]) -> None:
        written.append(sum(map(len, group)))
        between.append(other["rounds"])

    async def answer() -> None:
        request = make_mocked_request(
            "POST",
            "/v1/verify/batch",
            protocol=mock.Mock(writing_paused=False),
            transport=mock.Mock(writelines=writelines),
        )
        responder = Responder(lambda: 0.0, Readers(Answers(), Metrics()), turns, 1_000)
        await responder.parts(request, "batch", [b"x" * 400] * 20, None)

    async with other_work() as other:
        await asyncio.gather(*(answer() for _ in range(8)))
    assert written == [800] * 80
    assert len(set(between)) == 80
