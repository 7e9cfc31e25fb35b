"""FastAPI, uvicorn and an asyncpg pool: ``python -m bench.peers.fastapi_app``.

As FastAPI's users write it: the body is a Pydantic model. As uvicorn's documentation advises for
speed: uvloop, httptools, no access log. The answer is bytes, so that no response is validated.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from bench.peers.judging import SELECT_ONE, Judge, open_pool
from bench.peers.server import listening, say_ready
from verifier.invoice.claim import Question as OurQuestion


class Question(BaseModel, extra="forbid"):
    """The body of a question."""

    kind: str | None = None
    code: str | None = None
    number: str | None = None
    date: str | None = None
    check_code: str | None = None
    amount: str | None = None
    total: str | None = None
    seller_tax_id: str | None = None
    buyer_tax_id: str | None = None
    reference: str | None = None
    qr: str | None = None


def build() -> FastAPI:
    """The application; the database is the one of BENCH_DSN."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = await open_pool()
        app.state.judge = Judge(lambda key: pool.fetchrow(SELECT_ONE, key))
        gc.collect()
        gc.freeze()
        yield
        await pool.close()

    app = FastAPI(lifespan=lifespan)

    async def answered(item: Any) -> Response:
        status, body = await app.state.judge.answer(item)
        return Response(body, status_code=status, media_type="application/json")

    @app.post("/v1/verify")
    async def verify(question: Question) -> Response:
        return await answered(OurQuestion(**question.__dict__))

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        return await answered(cast("dict[str, Any]", error.body))

    return app


async def main() -> None:
    """Serve until SIGTERM."""
    config = uvicorn.Config(
        build(), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    server = uvicorn.Server(config)
    sock = listening()
    serving = asyncio.create_task(server.serve([sock]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - no such event
        await asyncio.sleep(0.01)
    if server.started:
        say_ready(sock)
    await serving


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
