"""Service: requests of a kept connection, from the bytes that arrive to the bytes that leave."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, cast
from uuid import UUID

from aiohttp import web

from bench.engine import loop, make_verifier, repeated
from bench.samples import NOON, Case, batch, bodies
from verifier.access.callers import KeyState, TenantState
from verifier.access.keyring import Keyring
from verifier.access.keys import checksum, digest, make
from verifier.access.limits import Shares
from verifier.access.noticing import Noticing
from verifier.access.usage import Usage
from verifier.api.server.body import Bodies
from verifier.api.server.boundary import Boundary
from verifier.api.server.crowd import Crowd
from verifier.api.server.denials import Denials
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
from verifier.api.verify.veil import Veil
from verifier.clocks import Clocks
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


_KEY = f"ivk_live_{'0' * 30}{checksum('0' * 30)}"


def _keyring() -> Keyring:
    """One with a key that has a limit, as its tenant has; neither is ever reached."""
    pepper = b"p" * 32
    clock = repeat(NOON).__next__
    keyring = Keyring(
        (pepper,), Clocks(clock, clock), Shares(UUID(int=1), clock), bound=2.0, kept=60.0
    )
    rate, burst = 1e9, 10**9
    keyring.put_tenant(TenantState(1, "bench", rate, burst), (1, 1))
    scopes = frozenset({"verify", "explain"})
    keyring.put_key(
        KeyState(1, 1, digest(pepper, _KEY).hex(), scopes, rate=rate, burst=burst), (1, 1)
    )
    keyring.shown(NOON)
    return keyring


@cache
def _server(full: bool, keyed: bool) -> web.Server:
    """That of a service whose memory holds all sample invoices, or next to none.

    One that is ``keyed`` asks for keys, of which it knows one.
    """
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
        veil=Veil(config.access.veil, lambda: NOON),
        metrics=metrics,
        usage=Usage(lambda: NOON),
        noticing=Noticing(lambda: NOON, metrics),
    )
    guard = Guard(config.access, _keyring() if keyed else None)
    boundary = Boundary(metrics, readers, guard)
    routes = [Single(resources).route(), Batches(resources).route()]
    handlers = handlers_of(routes, boundary)
    refusals = Refusals(metrics.http_errors.add, Lines(1, lambda: NOON))
    rounds = Rounds(lambda: NOON, resources.admission.waited)
    crowd = Crowd(bounds.max_connections, bounds, refusals)
    denials = Denials(resources.responder, metrics, bounds, lambda: NOON)
    app, desk = (
        application(handlers, boundary, 1 << 24),
        Desk(routes, bounds, rounds, guard, denials),
    )
    runner = Runner(app, refusals, crowd, desk, bounds)
    loop().run_until_complete(runner.setup())
    assert runner.server is not None
    shorten(runner.server, handlers)
    return runner.server


def _asked(
    path: str,
    sent: Sequence[bytes],
    size: int,
    *,
    full: bool = True,
    connections: int = 1,
    key: str = "",
) -> Callable[[], object]:
    """Requests over some connections at once, each when the answer to the last one is there.

    ``size`` is less than that of an answer, and more than all of it but its last bytes. With a
    ``key`` they are of a service that asks for one.
    """
    field = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{field}Content-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in sent]
    server = _server(full, bool(key))

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


def denied() -> Callable[[], object]:
    """The same with a key that nobody knows: none is answered."""
    key = make("live", secrets.choice)
    return _asked("/v1/verify", bodies(), 300, key=key)


def many() -> Callable[[], object]:
    """The same in one batch."""
    return _asked("/v1/verify/batch", [batch()], 400_000)


def keyed_single() -> Callable[[], object]:
    """A thousand known questions with a key, its limits and its usage."""
    return _asked("/v1/verify", bodies(), 300, key=_KEY)


def keyed_many() -> Callable[[], object]:
    """The same in one batch."""
    return _asked("/v1/verify/batch", [batch()], 400_000, key=_KEY)


def several() -> Callable[[], object]:
    """Three batches at once, of which memory knows nothing."""
    return _asked("/v1/verify/batch", [batch()], 400_000, full=False, connections=3)


CASES: dict[str, Case] = {
    "single": single,
    "denied": denied,
    "batch": many,
    "batches": several,
    "single keyed": keyed_single,
    "batch keyed": keyed_many,
}


def test_service(benchmark: BenchmarkFixture, case: Case) -> None:
    """The time of each case."""
    benchmark(case())
