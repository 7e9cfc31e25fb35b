"""aiohttp and an asyncpg pool, one query per question: ``python -m bench.peers.pool``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from bench.peers.bare import JSON
from bench.peers.judging import SELECT_ONE, Judge, open_pool
from bench.peers.server import serve
from verifier.wire import questions

JUDGE = web.AppKey("judge", Judge)


def build() -> web.Application:
    """The application; the database is the one of BENCH_DSN."""

    async def verify(request: web.Request) -> web.Response:
        item = questions.decode_question(await request.read())
        status, body = await request.app[JUDGE].answer(item)
        return web.Response(status=status, body=body, headers=JSON)

    async def database(app: web.Application) -> AsyncIterator[None]:
        pool = await open_pool()
        app[JUDGE] = Judge(lambda key: pool.fetchrow(SELECT_ONE, key))
        yield
        await pool.close()

    app = web.Application()
    app.router.add_post("/v1/verify", verify)
    app.cleanup_ctx.append(database)
    return app


if __name__ == "__main__":
    serve(build())
