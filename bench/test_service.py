"""Service: requests of a kept connection, from the bytes that arrive to the bytes that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, cast

from aiohttp import web

from bench.engine import loop, make_verifier, repeated
from bench.samples import NOON, Case, batch, bodies
from verifier.api.server.body import Bodies
from verifier.api.server.boundary import Boundary
from verifier.api.server.crowd import Crowd
from verifier.api.server.desk import Desk
from verifier.api.server.guard import Guard
from verifier.api.server.readers import Readers
from verifier.api.server.refusals import Lines, Refusals
from verifier.api.server.respond import Responder
from verifier.api.server.rounds import Rounds
from verifier.api.server.router import application, handlers_of, shorten
from verifier.api.server.server import Runner
from verifier.api.verify.batch import Batches
from verifier.api.verify.bulk import Resources
from verifier.api.verify.single import Single
from verifier.config import Config
from verifier.engine.admission import Admission
from verifier.metrics import Metrics
from verifier.pacing import Turns
from verifier.wire.answers import Encoder
from verifier.wire.tokens import Tokens

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


class _Client(asyncio.Transport):
    """The other end of a connection, which takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self._expected = 0
        self._taken = 0
        self._ended = asyncio.Event()

    def expect(self, size: int) -> asyncio.Event:
        """Set when so many bytes have come."""
        self._expected, self._taken = size, 0
        self._ended.clear()
        return self._ended

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self._taken += len(data)
        if self._taken >= self._expected:
            self._ended.set()

    def writelines(self, list_of_data: object) -> None:
        for data in cast("Sequence[bytes]", list_of_data):
            self.write(data)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


# Questions in a round of the event loop: no client asks on and on within one.
_A_ROUND = 100


@cache
def _server(full: bool) -> web.Server:
    """That of a service whose memory holds all sample invoices, or next to none."""
    config, metrics, turns = Config(), Metrics(), Turns()
    readers, bounds = Readers(config.answers, metrics), config.connections
    resources = Resources(
        verifier=make_verifier(metrics, full=full),
        admission=Admission(1.0, 1.0, lambda: NOON),
        clock=lambda: NOON,
        encoder=Encoder("0123456789ab"),
        tokens=Tokens(lambda: b""),
        bodies=Bodies(config.requests),
        turns=turns,
        responder=Responder(lambda: NOON, readers, turns, config.answers.write_buffer),
        readers=readers,
        requests=config.requests,
        answers=config.answers,
        metrics=metrics,
    )
    boundary = Boundary(metrics, readers, Guard(config.access))
    routes = [Single(resources).route(), Batches(resources).route()]
    handlers = handlers_of(routes, boundary)
    refusals = Refusals(metrics.http_errors.add, Lines(1, lambda: NOON))
    rounds = Rounds(lambda: NOON, resources.admission.waited)
    crowd = Crowd(bounds.max_connections, bounds, refusals)
    app, desk = application(handlers, boundary, 1 << 24), Desk(routes, bounds, rounds)
    runner = Runner(app, refusals, crowd, desk, bounds)
    loop().run_until_complete(runner.setup())
    assert runner.server is not None
    shorten(runner.server, handlers)
    return runner.server


def _asked(
    path: str, sent: Sequence[bytes], size: int, *, full: bool = True, connections: int = 1
) -> Callable[[], object]:
    """Requests over some connections at once, each when the answer to the last one is there.

    ``size`` is less than that of an answer, and more than all of it but its last bytes.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in sent]
    server = _server(full)

    async def ask(client: _Client, connection: asyncio.Protocol) -> None:
        for number, request in enumerate(requests):
            if not number % _A_ROUND:
                await asyncio.sleep(0)
            ended = client.expect(size)
            connection.data_received(request)
            await ended.wait()

    async def work() -> None:
        await asyncio.gather(*(ask(*each) for each in connected))

    async def connect() -> tuple[_Client, asyncio.Protocol]:
        client, connection = _Client(), server()
        connection.connection_made(client)
        await asyncio.sleep(0)
        return client, connection

    run = loop().run_until_complete
    connected = [run(connect()) for _ in range(connections)]
    return repeated(work)


def single() -> Callable[[], object]:
    """A thousand known questions."""
    return _asked("/v1/verify", bodies(), 300)


def many() -> Callable[[], object]:
    """The same in one batch."""
    return _asked("/v1/verify/batch", [batch()], 400_000)


def several() -> Callable[[], object]:
    """Three batches at once, of which memory knows nothing."""
    return _asked("/v1/verify/batch", [batch()], 400_000, full=False, connections=3)


CASES: dict[str, Case] = {"single": single, "batch": many, "batches": several}


def test_service(benchmark: BenchmarkFixture, case: Case) -> None:
    """The time of each case."""
    benchmark(case())
