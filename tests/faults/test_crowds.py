"""Too many at once: twenty times the load, and clients that are idle, slow, or send too much."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from loadtests.processes import RigError, cores, forget_peak, peak_bytes, resident_bytes
from loadtests.slowing import slowed
from tests.faults import hostile
from tests.faults.ground import Ground
from tests.faults.load import Load, Rates
from tests.faults.scenario import FULL, Row, form, play
from tests.faults.service import Service
from tests.support import require_tool

MIB = 1 << 20

# What the step multiplies. The workers share a part of a core, so that the load, on the same
# machine, can ask several times what they can answer; and it opens connections for that.
RATES = Rates(singles=100, batches=5, batch=20, writes=20)
TIMES, LEFT, CONNECTIONS = 20, 0.2, 300

# Idle connections and slow ones, in all.
IDLE, SLOW = (10_000, 500) if form() is FULL else (1_000, 50)
SETTINGS = {
    # Short enough for slow clients to be cut off, and long enough for those who only have to wait.
    "header_timeout": 2.0,
    "body_timeout": 2.0,
    # One worker has all of them.
    "max_connections": IDLE + SLOW + 1_000,
}
SECONDS = max(form().seconds, 4.0)
# What a worker may need for the crowd. Each connection takes some 10 KiB, a slow one up to what it
# has sent; a batch that is too large is received before it is refused, by one client at a time.
EACH, BODIES = 32 << 10, 96 * MIB
# Connections that the load may have beside those of the crowd, and some of the service's own.
OTHERS = 200


@pytest.fixture
def apart() -> tuple[int, int]:
    """A core for the workers, and another one for all else."""
    try:
        return cores()
    except RigError as error:
        require_tool(str(error), found=False)
        raise


@pytest.fixture
def slow_core(apart: tuple[int, int]) -> Iterator[int]:
    """Make a core that has only a part of itself left; it takes root."""
    core, _ = apart
    with ExitStack() as stack:
        try:
            stack.enter_context(slowed(core, LEFT))
        except RigError as error:
            require_tool(str(error), found=False)
        yield core


@contextmanager
def kept_to(core: int) -> Iterator[None]:
    """Have this process, its threads and what it starts run on one core."""
    before = {thread: os.sched_getaffinity(thread) for thread in threads(os.getpid())}
    try:
        for thread in before:
            os.sched_setaffinity(thread, {core})
        yield
    finally:
        for thread in before.keys() & set(threads(os.getpid())):
            os.sched_setaffinity(thread, before[thread])


def threads(pid: int) -> list[int]:
    """The threads of a process."""
    return [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]


def move(service: Service, core: int) -> None:
    """Have all threads of the workers run on one core."""
    for pid in service.pids():
        for thread in threads(pid):
            os.sched_setaffinity(thread, {core})


@asynccontextmanager
async def stepped(load: Load) -> AsyncIterator[None]:
    """At once so many times as many questions come, and then no more than before."""
    load.times = TIMES
    try:
        yield
    finally:
        load.times = 1.0


async def test_the_load_steps_up(ground: Ground, slow_core: int, rows: list[Row]) -> None:
    """Scenario 14: who is not refused is answered rightly, and once it is over all are answered."""
    load = Load(ground.items, RATES, ground.load.bound)
    load.connections = CONNECTIONS
    with ground.service() as service:
        move(service, slow_core)
        row = await play(f"14 {TIMES} × load step", load, service, stepped(load))
    tally = row.tally
    # Otherwise it was no more than they can carry.
    assert tally.reasons["overloaded"] > 0
    row.note = (
        f"{RATES.questions:,.0f} questions a second, then {RATES.questions * TIMES:,.0f}, of "
        f"workers that share {LEFT:g} of a core: {tally.answered:,} answered, "
        f"{tally.reasons['overloaded']:,} refused"
    )
    rows.append(row)


class Siege:
    """Hostile clients around a service; what they see, what it needs, and what others see."""

    def __init__(self, load: Load, service: Service) -> None:
        self._load = load
        self._service = service
        # Of the single questions, the times without the crowd and beside it, in seconds.
        self.alone: Sequence[float] = ()
        self.beside: Sequence[float] = ()
        # Of the worker that has most: descriptors, and bytes more than before.
        self.files = 0
        self.grown = 0
        self.seen: Mapping[str, int] = {}

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[None]:
        """Have them there while the block runs; afterwards the service has let go of them."""
        pids, load = self._service.pids(), self._load
        load.taken.clear()
        await asyncio.sleep(SECONDS)
        self.alone = load.taken.copy()
        resident = {pid: resident_bytes(pid) for pid in pids}
        for pid in pids:
            forget_peak(pid)
        question = load.items.changing[0].question + b"}"
        crowd = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", hostile.__name__, str(self._service.port)),
            *(str(IDLE), str(SLOW), question),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert crowd.stdout is not None
        watching = asyncio.create_task(self._watch(pids))
        try:
            async with asyncio.timeout(60):
                assert await crowd.stdout.readline() == b"begun\n"
            load.taken.clear()
            yield
            self.beside = load.taken.copy()
            # The end of its input is the end of the attack.
            async with asyncio.timeout(30):
                said, _ = await crowd.communicate(b"")
            self.seen = json.loads(said)
        finally:
            watching.cancel()
            if crowd.returncode is None:
                crowd.kill()
            await crowd.wait()
        self.grown = max(peak_bytes(pid) - resident[pid] for pid in pids)
        async with asyncio.timeout(10):
            while max(map(files, pids)) > OTHERS:
                await asyncio.sleep(0.05)

    async def _watch(self, pids: Sequence[int]) -> None:
        while True:
            self.files = max(self.files, *map(files, pids))
            await asyncio.sleep(0.25)

    def note(self, allowed: int) -> str:
        """What a worker needed, and what others saw."""
        alone, beside = p99(self.alone), p99(self.beside)
        return (
            f"{IDLE:,} idle connections and {SLOW:,} slow ones; in a worker at most "
            f"{self.files:,} descriptors of {allowed:,} and {self.grown / MIB:.0f} MiB more than "
            f"before; single questions' p99 {beside * 1e3:.1f} ms beside them and "
            f"{alone * 1e3:.1f} ms alone ({beside / alone:.2f} ×)"
        )


def files(pid: int) -> int:
    """How many descriptors a process has."""
    folder = f"/proc/{pid}/fd"
    # Linux before 6.2 does not tell. To count thousands one by one would hold up the load, which is
    # in another thread.
    return os.stat(folder).st_size or len(os.listdir(folder))


def limit(pid: int) -> int:
    """How many it may have."""
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max open files")
    )
    return int(line.split()[3])


def p99(seconds: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(seconds)[len(seconds) * 99 // 100]


async def test_a_crowd_of_hostile_clients(
    ground: Ground, apart: tuple[int, int], rows: list[Row]
) -> None:
    """Scenario 15: others are answered rightly beside them, and what they take is bounded."""
    served, other = apart
    # The port is for a supervisor, which one worker by itself does not have.
    alone = ground.service("--metrics-port", "0", workers=1, **SETTINGS)
    with alone as service, kept_to(other):
        # Nothing of the crowd takes time away from the workers but what it asks of them.
        move(service, served)
        allowed = min(map(limit, service.pids()))
        siege = Siege(ground.load, service)
        name = "15 idle, slow and oversized clients"
        row = await play(name, ground.load, service, siege.laid(), seconds=SECONDS)
        assert "internal" not in service.said()
    row.note = siege.note(allowed)
    rows.append(row)
    seen = siege.seen
    # Nobody who keeps to the bounds is cut off.
    assert seen["idle, asked again"] == IDLE
    assert {"slow head: 408", "slow body: 408"} <= seen.keys()
    for kind, (status, _) in hostile.OVERSIZED.items():
        said = {key for key in seen if key.startswith(f"{kind}: ")}
        assert f"{kind}: {status}" in said, seen
        assert said <= {f"{kind}: {each}" for each in (status, 503, "cut")}, seen
    # No descriptor but for a client that is there, and no memory but for what it may hold.
    assert siege.files <= IDLE + SLOW + len(hostile.OVERSIZED) + OTHERS
    assert siege.grown <= EACH * (IDLE + SLOW) + BODIES
