"""An aiohttp handler that reads the body and returns N bytes: ``python -m bench.peers.bare N``."""

from __future__ import annotations

import sys

from aiohttp import web

from bench.peers.server import serve

JSON = {"Content-Type": "application/json"}


def build(length: int) -> web.Application:
    """The application; it answers with so many bytes."""
    answer = b"x" * length

    async def verify(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, headers=JSON)

    app = web.Application()
    app.router.add_post("/v1/verify", verify)
    return app


if __name__ == "__main__":
    serve(build(int(sys.argv[1])))
