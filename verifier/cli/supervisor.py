"""Keeps worker processes alive: starts, restarts and ends them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Literal

import msgspec
import structlog

from verifier import lifeline
from verifier.backoff import backoff
from verifier.cli.gathering import Gatherer
from verifier.cli.signals import Stop
from verifier.errors import VerifierError

log = structlog.get_logger()

READY = b"ready\n"


class WorkersError(VerifierError):
    """No worker stays alive: says how often each was tried, and how the last one ended."""

    code = "workers"


class Policy(msgspec.Struct, frozen=True):
    """How patient a supervisor is. Times in seconds."""

    # From SIGTERM to SIGKILL: what a worker takes to drain, and some to spare.
    drain: float
    # A worker that ends sooner than this after its start is failing, not unlucky.
    quick: float = 5.0
    # So many quick ends in a row, of every worker, are a fault that no restart mends.
    tries: int = 5
    first_pause: float = 0.2
    longest_pause: float = 10.0

    def pause(self, deaths: int, random: float) -> float:
        """Seconds before a restart after ``deaths`` quick ends in a row."""
        return backoff(deaths, self.first_pause, self.longest_pause, random)


class Worker:
    """One worker process, and its two pieces of news: it is ready, it has ended.

    ``numbers`` is the descriptor of its channel to the Gatherer. Raises OSError when it cannot be
    started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        ready: Callable[[], None],
        numbers: int,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._on_ready = ready
        self.born = loop.time()
        self.exited: asyncio.Future[int] = loop.create_future()
        with ExitStack() as undo:
            self._news, theirs = os.pipe()
            undo.callback(os.close, self._news)
            fds = ["--ready-fd", str(theirs), "--numbers-fd", str(numbers)]
            try:
                self._process = subprocess.Popen(
                    [*command, *fds, "--parent", str(os.getpid())],
                    pass_fds=(theirs, numbers),
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    # Ours carries one line, for whoever waits for it.
                    stdout=2,
                    # A Ctrl-C in the terminal reaches us alone; workers are told in their turn.
                    process_group=0,
                )
            finally:
                os.close(theirs)
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self.pid = self._process.pid
            exit_ = lifeline.ended(self.pid)
            undo.pop_all()
        loop.add_reader(self._news, self._read_news)
        exit_.add_done_callback(self._read_exit)

    def _read_news(self) -> None:
        if os.read(self._news, len(READY)) == READY:
            self._on_ready()
        self._close_news()

    def _close_news(self) -> None:
        if self._news >= 0:
            self._loop.remove_reader(self._news)
            os.close(self._news)
            self._news = -1

    def _read_exit(self, _: asyncio.Future[None]) -> None:
        self._close_news()
        self.exited.set_result(self._process.wait())

    def age(self) -> float:
        """Seconds since the start."""
        return self._loop.time() - self.born

    def send(self, signum: int) -> None:
        """Signal the process, if it still runs."""
        self._process.send_signal(signum)


class Supervisor:
    """Runs a process of each command.

    A command is called with ``--ready-fd FD``, where it writes READY once it serves,
    ``--numbers-fd FD``, where it may report to ``gatherer``, and ``--parent PID``, with whose
    death it must die. ``random`` gives numbers in [0, 1).
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        policy: Policy,
        gatherer: Gatherer,
        *,
        environ: Mapping[str, str],
        random: Callable[[], float],
    ) -> None:
        self._commands = commands
        self._policy = policy
        self._gatherer = gatherer
        self._metrics = gatherer.metrics
        self._environ = environ
        self._random = random
        self._workers: list[Worker | None] = [None] * len(commands)
        self._deaths = [0] * len(commands)
        self._waited_for = set(range(len(commands)))
        for slot in range(len(commands)):
            self._metrics.up.labels(str(slot)).set(0)

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.pid for worker in self._alive()]

    async def run(self, stop: Stop, ready: Callable[[], None]) -> None:
        """Serve until ``stop`` is asked, then drain; nothing runs any more on return.

        Calls ``ready`` once, when every worker has been ready. Raises WorkersError when all of
        them end again and again right after their start.
        """
        keepers = [
            asyncio.create_task(self._keep(slot, ready)) for slot in range(len(self._workers))
        ]
        asked = asyncio.create_task(stop.asked.wait())
        try:
            await asyncio.wait({asked, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (asked, *keepers):
                task.cancel()
            await asyncio.wait({asked, *keepers})
            await self._end(stop)
            await self._gatherer.close()
        for keeper in keepers:
            if not keeper.cancelled():
                keeper.result()

    async def _keep(self, slot: int, ready: Callable[[], None]) -> None:
        """One worker after the other; never returns."""

        def is_ready() -> None:
            self._metrics.up.labels(str(slot)).set(1)
            if slot in self._waited_for:
                self._waited_for.remove(slot)
                if not self._waited_for:
                    ready()

        while True:
            how = await self._once(slot, is_ready)
            if self._hopeless():
                raise WorkersError(
                    f"every worker ended right after its start, {self._policy.tries} times in a "
                    f"row; the last one {how}: see its message above"
                )
            await asyncio.sleep(self._policy.pause(self._deaths[slot], self._random()))

    async def _once(self, slot: int, is_ready: Callable[[], None]) -> str:
        """Run one worker to its end; says how it ended."""
        try:
            with self._gatherer.attach(slot) as numbers:
                worker = Worker(self._commands[slot], self._environ, is_ready, numbers.fileno())
        except OSError as error:
            # Out of processes or memory for now: those that run go on.
            self._deaths[slot] += 1
            log.warning("worker not started", why=str(error))
            return f"could not be started: {error}"
        self._workers[slot] = worker
        log.info("worker started", pid=worker.pid)
        self._metrics.started.add(str(slot))
        code = await asyncio.shield(worker.exited)
        how = _how(code)
        self._metrics.ended.add(str(slot), signal.Signals(-code).name if code < 0 else str(code))
        self._metrics.up.labels(str(slot)).set(0)
        self._deaths[slot] = self._deaths[slot] + 1 if worker.age() < self._policy.quick else 0
        log.warning("worker ended", pid=worker.pid, how=how, age=round(worker.age(), 1))
        return how

    def _hopeless(self) -> bool:
        return all(
            deaths >= self._policy.tries
            and (worker is None or worker.exited.done() or worker.age() < self._policy.quick)
            for deaths, worker in zip(self._deaths, self._workers, strict=True)
        )

    def _alive(self) -> list[Worker]:
        return [worker for worker in self._workers if worker and not worker.exited.done()]

    async def _end(self, stop: Stop) -> None:
        """SIGTERM to all, and SIGKILL to those that do not end in time."""
        alive = self._alive()
        for worker in alive:
            worker.send(signal.SIGTERM)
        if not alive:
            return
        hurry = asyncio.create_task(stop.hurry.wait())
        ended = asyncio.create_task(_ended(alive))
        await asyncio.wait(
            {hurry, ended}, timeout=self._policy.drain, return_when=asyncio.FIRST_COMPLETED
        )
        hurry.cancel()
        for worker in self._alive():
            log.warning("worker killed", pid=worker.pid, why="it did not end in time")
            worker.send(signal.SIGKILL)
        await ended


async def _ended(workers: Sequence[Worker]) -> Literal[True]:
    await asyncio.gather(*(worker.exited for worker in workers))
    return True


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
