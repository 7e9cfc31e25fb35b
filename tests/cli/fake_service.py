"""A service made by hand that answers ``POST /v1/verify/stream`` as a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Turn:
    """How one request is answered."""

    status: int = 200
    # In Retry-After, of another status; seconds.
    retry_after: str = "7"
    # Answers before the connection is closed, without the last line; None: all of them.
    cut_after: int | None = None
    # Text after those answers, e.g. half a line.
    tail: str = ""
    # False: an honest summary that says that it is not complete.
    complete: bool = True
    # Names of the questions that this request cannot check.
    unavailable: frozenset[str] = frozenset()


class FakeService:
    """Answers each question ``{"reference": NAME, "want": VERDICT}`` with what it wants.

    One turn a request; after the last one, all requests are answered well.
    """

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        self.turns = list(turns)
        self.asked: list[list[str]] = []
        # Authorization of each request.
        self.keys: list[str | None] = []
        self.url = ""

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer while the questions still arrive."""
        self.keys.append(request.headers.get("Authorization"))
        turn = self.turns.pop(0) if self.turns else Turn()
        if turn.status != 200:
            return web.json_response(
                {"detail": "as told"}, status=turn.status, headers={"Retry-After": turn.retry_after}
            )
        names: list[str] = []
        self.asked.append(names)
        response = web.StreamResponse()
        await response.prepare(request)
        async for line in request.content:
            if len(names) == turn.cut_after:
                await response.write(turn.tail.encode())
                assert request.transport
                request.transport.close()
                return response
            answer = self._answer(json.loads(line), len(names), turn)
            names.append(answer["reference"])
            await response.write(json.dumps(answer).encode() + b"\n")
        last = {"summary": {}, "complete": turn.complete}
        await response.write(json.dumps(last).encode() + b"\n")
        return response

    def _answer(self, question: dict[str, Any], index: int, turn: Turn) -> dict[str, Any]:
        name = question["reference"]
        answer: dict[str, Any] = {"index": index, "reference": name}
        if name in turn.unavailable:
            return answer | {"verdict": "unavailable", "retry_after": 3}
        if "twin" in question:
            answer["hints"] = [{"code": "duplicate_in_request", "first_index": question["twin"]}]
        return answer | {"verdict": question.get("want", "match")}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeService]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_post("/v1/verify/stream", self.stream)
        server = TestServer(app)
        await server.start_server(loop=asyncio.get_running_loop())
        self.url = str(server.make_url("/"))
        try:
            yield self
        finally:
            await server.close()
