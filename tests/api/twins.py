"""Two servers that differ in nothing but the front desk, over a ledger and connections in memory.

What a client sends goes to both, in the same pieces and turns of the event loop; ``alike`` compares
what each of them says, byte for byte but for dates and ids, and whether it stays connected.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from bench.samples import READING, findings
from tests.engine.fakes import Clock
from verifier.access.keyring import Keyring
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
from verifier.api.server.server import Runner, Server
from verifier.api.verify.batch import Batches
from verifier.api.verify.bulk import Resources
from verifier.api.verify.single import Single
from verifier.api.verify.veil import Veil
from verifier.clocks import Clocks
from verifier.config import Config
from verifier.engine.admission import Admission
from verifier.engine.freshness import Freshness
from verifier.engine.lanes import Limits
from verifier.engine.loader import Loader
from verifier.engine.memory import Memory, Sizes
from verifier.engine.verifier import Verifier
from verifier.metrics import Metrics
from verifier.pacing import Turns
from verifier.state import Position
from verifier.wire.answers import Encoder
from verifier.wire.records import Absence, Finding
from verifier.wire.tokens import Tokens

# What differs between any two answers.
OWN = re.compile(rb'(Date: |"id":"|"as_of":")[^\r"]*')

# Rounds of the event loop after which nothing more comes: a request takes about ten.
_QUIET = 40


class Ledger:
    """What is read, a few rounds of the event loop later; keys of ``failing`` fail."""

    def __init__(self) -> None:
        self.reads = 0
        # Reads wait while it is not set.
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, keys: Sequence[str], _: float = 0.0) -> Mapping[str, Finding]:
        """A read."""
        self.reads += 1
        for _round in range(3):
            await asyncio.sleep(0)
        await self.open.wait()
        known = findings()
        return {key: known.get(key) or Absence(READING) for key in keys}

    async def fetch_at(
        self, keys: Sequence[str], _: Position, deadline: float
    ) -> Mapping[str, Finding]:
        """A read of a state that is new enough."""
        return await self.fetch(keys, deadline)


class Side:
    """One of the two servers; its desk may keep so many ``heads``.

    With a ``keyring`` it asks for keys.
    """

    def __init__(self, heads: int, keyring: Keyring | None = None, **settings: float) -> None:
        config = Config.of(known_heads=heads, **settings)
        self.metrics = metrics = Metrics()
        self.ledger = ledger = Ledger()

        self.clock = clock = Clock()
        sizes = Sizes(cache_entries=2, absence_entries=2, absence_seconds=1.0, longest_read=2.0)
        memory = Memory(sizes, clock, metrics)
        limits = Limits(slots=2, max_batch=8, waiting_singles=8, waiting_bulk=8, max_wait=1.0)
        loader = Loader(memory.keeping(ledger.fetch), limits, clock, metrics)
        clocks = Clocks(clock, clock)
        freshness = Freshness(max_staleness=3600.0)
        readers, turns = Readers(config.answers, metrics), Turns()
        self.admission = Admission(1.0, 1.0, clock)
        resources = Resources(
            verifier=Verifier(loader, ledger.fetch_at, memory, freshness, clocks),
            admission=self.admission,
            clock=clock,
            encoder=Encoder("0123456789ab"),
            tokens=Tokens(lambda: b""),
            bodies=Bodies(config.requests),
            turns=turns,
            responder=Responder(clock, readers, turns, config.answers.write_buffer),
            readers=readers,
            requests=config.requests,
            answers=config.answers,
            veil=Veil(config.access.veil, clock),
            metrics=metrics,
            usage=Usage(clock),
            noticing=Noticing(clock, metrics),
        )
        guard = Guard(config.access, keyring)
        self.boundary = Boundary(metrics, readers, guard)
        self.routes = [Single(resources).route(), Batches(resources).route()]
        refusals = Refusals(metrics.http_errors.add, Lines(1, clock))
        bounds = config.connections
        self.crowd = Crowd(bounds.max_connections, bounds, refusals)
        denials = Denials(resources.responder, metrics, bounds, clock)
        self.desk = Desk(self.routes, bounds, Rounds(clock, self.admission.waited), guard, denials)
        self._handlers = handlers_of(self.routes, self.boundary)
        app = application(self._handlers, self.boundary, config.requests.max_batch_body)
        self.runner = Runner(app, refusals, self.crowd, self.desk, bounds)

    async def start(self) -> None:
        """Make it able to serve."""
        await self.runner.setup()
        shorten(self.server, self._handlers)

    @property
    def server(self) -> Server:
        """The server of its connections."""
        return cast("Server", self.runner.server)

    def value(self, name: str, **labels: str) -> float:
        """One of its metrics; 0 when there is none yet."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class Line(asyncio.Transport):
    """A client's end of a connection, in memory; ``peer`` is its address, if it has one."""

    def __init__(self, side: Side, peer: tuple[str, int] | None = None) -> None:
        super().__init__()
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self.said = bytearray()
        self.closed = False
        self.paused = False
        self.waiting = 0  # bytes that the client has not read
        self.protocol = side.server()
        self.protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Take bytes of the server."""
        assert not self.closed
        self.said += data

    def writelines(self, list_of_data: object) -> None:
        """The same."""
        for data in cast("Sequence[bytes]", list_of_data):
            self.write(data)

    def write_eof(self) -> None:
        """End."""
        self.close()

    def close(self) -> None:
        """End."""
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        """Whether it has ended."""
        return self.closed

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Tell its address, and nothing else."""
        return self._peer if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        """Tell what waits."""
        return self.waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Have none."""

    async def reads(self) -> bool:
        """Whether the server takes in more; it is given some time to go on."""
        turns = 0
        while self.paused and not self.closed and turns < _QUIET:
            turns += 1
            await asyncio.sleep(0)
        return not self.closed and not self.paused

    def pause_reading(self) -> None:
        """Deliver nothing."""
        self.paused = True

    def resume_reading(self) -> None:
        """Deliver again."""
        self.paused = False


class Sent(NamedTuple):
    """A piece of what a client sends, and for how many rounds of the event loop it then waits."""

    data: bytes
    rounds: int


async def rounds(count: int) -> None:
    """Let the event loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def told(side: Side, pieces: Sequence[Sent], *, half_close: bool) -> tuple[bytes, bool, bool]:
    """What a server says to these pieces; whether it has closed; and whether it reads on."""
    line = Line(side)
    # Sooner or later than aiohttp waits for it.
    await rounds(sum(len(piece.data) for piece in pieces) % 3)
    for data, waits in pieces:
        if not await line.reads():
            break
        line.protocol.data_received(data)
        await rounds(waits)
    if half_close and await line.reads() and not line.protocol.eof_received():
        line.close()
    still = 0
    while still < _QUIET:
        before = len(line.said), line.closed
        await asyncio.sleep(0)
        still = still + 1 if before == (len(line.said), line.closed) else 0
    said, closed, paused = OWN.sub(rb"\1", bytes(line.said)), line.closed, line.paused
    line.close()
    await rounds(4)
    return said, closed, paused


class Twins:
    """Both servers, in an event loop of their own; with keyrings if ``ring`` makes one for each."""

    def __init__(self, ring: Callable[[], Keyring] | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._start(ring))

    async def _start(self, ring: Callable[[], Keyring] | None) -> None:
        self.desk, self.plain = (Side(heads, ring() if ring else None) for heads in (1_000, 0))
        for side in (self.desk, self.plain):
            await side.start()

    def alike(self, pieces: Sequence[Sent], *, half_close: bool = False) -> bytes:
        """What both say to these pieces; AssertionError when they differ."""
        by_desk, plainly = (
            self._loop.run_until_complete(told(side, pieces, half_close=half_close))
            for side in (self.desk, self.plain)
        )
        assert by_desk == plainly
        return by_desk[0]

    def close(self) -> None:
        """End both."""
        for side in (self.desk, self.plain):
            self._loop.run_until_complete(side.runner.cleanup())
        with suppress(RuntimeError):
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
