"""Respond: a thousand answers written, our way and as aiohttp's Response does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from aiohttp import HttpVersion11, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bench.engine import loop, repeated
from bench.samples import NOON, Case
from verifier.api.server.readers import Readers
from verifier.api.server.respond import JSON, Responder
from verifier.config import Answers
from verifier.metrics import Metrics
from verifier.pacing import Turns

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

BODY = b"x" * 640


class _Nowhere:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None:
        """Forget it."""

    def writelines(self, data: list[bytes]) -> None:
        """Join it, as a transport does, and forget it."""
        b"".join(data)

    def is_closing(self) -> bool:
        """Never."""
        return False


class _Protocol(BaseProtocol):
    """As much of a connection as a request looks at."""

    ssl_context = None
    peername = None
    sockname = None


MESSAGE = RawRequestMessage(
    method="POST",
    path="/v1/verify",
    version=HttpVersion11,
    headers=CIMultiDictProxy(CIMultiDict()),
    raw_headers=(),
    should_close=False,
    compression=None,
    upgrade=False,
    chunked=False,
    url=URL("/v1/verify"),
)


def _requests() -> Callable[[], web.BaseRequest]:
    """Makes requests as aiohttp's server does."""
    protocol = cast("web.RequestHandler", _Protocol(loop()))
    protocol.transport = cast("asyncio.Transport", _Nowhere())
    task = cast("asyncio.Task[None]", None)
    return lambda: web.BaseRequest(
        MESSAGE, EMPTY_PAYLOAD, protocol, StreamWriter(protocol, loop()), task, loop()
    )


def _written(respond: Callable[[web.BaseRequest], web.StreamResponse]) -> Callable[[], object]:
    make = _requests()

    async def work() -> None:
        for _ in range(1_000):
            request = make()
            response = respond(request)
            await response.prepare(request)
            await response.write_eof()

    return repeated(work)


def ready() -> Callable[[], object]:
    """All bytes in one write."""
    responder = Responder(lambda: NOON, Readers(Answers(), Metrics()), Turns(), 1 << 20)
    return _written(lambda request: responder.json(request, BODY))


def aiohttp_response() -> Callable[[], object]:
    """Headers made and serialised anew."""
    return _written(lambda _: web.Response(body=BODY, headers=JSON))


def nothing() -> Callable[[], object]:
    """What both have in common: a request and its writer."""
    make = _requests()
    return lambda: [make() for _ in range(1_000)]


CASES: dict[str, Case] = {"ready": ready, "aiohttp": aiohttp_response, "nothing": nothing}


def test_respond(benchmark: BenchmarkFixture, case: Case) -> None:
    """A thousand responses."""
    benchmark(case())
