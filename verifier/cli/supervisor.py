"""Keeps worker processes alive: starts, restarts, replaces and ends them."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import structlog

from verifier.backoff import backoff
from verifier.cli.child import SUCCESSOR, Child, how_ended
from verifier.cli.gathering import Gatherer
from verifier.cli.signals import Stop
from verifier.errors import ConfigError, VerifierError

log = structlog.get_logger()


class WorkersError(VerifierError):
    """No worker stays alive: says how often each was tried, and how the last one ended."""

    code = "workers"


class Policy(msgspec.Struct, frozen=True):
    """How patient a supervisor is. Times in seconds."""

    # From SIGTERM to SIGKILL: what a worker takes to drain, and some to spare.
    drain: float
    # What a successor may take to serve.
    start: float = 60.0
    # A worker that ends sooner than this after its start is failing, not unlucky.
    quick: float = 5.0
    # So many quick ends in a row, of every worker, are a fault that no restart mends.
    tries: int = 5
    first_pause: float = 0.2
    longest_pause: float = 10.0

    def pause(self, deaths: int, random: float) -> float:
        """Seconds before a restart after ``deaths`` quick ends in a row."""
        return backoff(deaths, self.first_pause, self.longest_pause, random)


class Settings(msgspec.Struct, frozen=True):
    """What a reload may change: the workers' environment, and how patient one is with them.

    Each reading has an ``environ`` of its own: workers with another one are replaced.
    """

    environ: Mapping[str, str]
    policy: Policy


class Supervisor:
    """Runs a process of the command (child.py) in each slot: one for each of the listeners.

    A listener makes a socket that is bound. ``settings`` reads what holds, at the start and for
    each reload; it may raise ConfigError. ``random`` gives numbers in [0, 1).
    """

    def __init__(
        self,
        command: Sequence[str],
        listeners: Sequence[Callable[[], socket.socket]],
        settings: Callable[[], Settings],
        gatherer: Gatherer,
        *,
        random: Callable[[], float],
    ) -> None:
        self._command = command
        self._listeners = listeners
        self._read = settings
        self._settings = settings()
        self._gatherer = gatherer
        self._metrics = gatherer.metrics
        self._random = random
        self._workers: list[Child | None] = [None] * len(listeners)
        # By slot: who is about to take the place of the worker there.
        self._successors: dict[int, Child] = {}
        # Who was replaced, and has yet to finish what it has.
        self._leaving: set[Child] = set()
        self._deaths = [0] * len(listeners)
        self._waited_for = set(range(len(listeners)))
        for slot in range(len(listeners)):
            self._metrics.up.labels(str(slot)).set(0)

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.pid for worker in self._alive()]

    async def run(self, stop: Stop, ready: Callable[[], None]) -> None:
        """Serve until ``stop`` is asked, then drain; nothing runs any more on return.

        Calls ``ready`` once, when every worker has been ready. When ``stop`` asks for a reload,
        every worker is replaced. Raises WorkersError when all of them end again and again right
        after their start.
        """
        keepers = [
            asyncio.create_task(self._keep(slot, ready)) for slot in range(len(self._workers))
        ]
        keepers.append(asyncio.create_task(self._heed(stop.reload)))
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

        def is_ready(told: asyncio.Future[None]) -> None:
            if not told.cancelled() and slot in self._waited_for:
                self._waited_for.remove(slot)
                if not self._waited_for:
                    ready()

        while True:
            how = await self._once(slot, is_ready)
            if slot in self._successors:
                continue
            if self._hopeless():
                raise WorkersError(
                    f"every worker ended right after its start, {self._settings.policy.tries} "
                    f"times in a row; the last one {how}: see its message above"
                )
            pause = self._settings.policy.pause(self._deaths[slot], self._random())
            await asyncio.sleep(pause)

    async def _once(self, slot: int, is_ready: Callable[[asyncio.Future[None]], None]) -> str:
        """Have one worker in its slot, to its end or until it is replaced; says which."""
        worker = self._successors.pop(slot, None)
        if worker is None:
            try:
                worker = self._start(slot, self._settings, self._listeners[slot]())
            except OSError as error:
                # Out of processes or memory for now: those that run go on.
                self._deaths[slot] += 1
                log.warning("worker not started", why=str(error))
                return f"could not be started: {error}"
        self._workers[slot] = worker
        worker.ready.add_done_callback(is_ready)
        over: set[asyncio.Future[Any]] = {worker.exited, worker.replaced}
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        if worker.is_replaced():
            return "was replaced"
        how = how_ended(worker.exited.result())
        quick = worker.age() < self._settings.policy.quick
        self._deaths[slot] = self._deaths[slot] + 1 if quick else 0
        log.warning("worker ended", pid=worker.pid, how=how, age=round(worker.age(), 1))
        return how

    def _start(self, slot: int, settings: Settings, listening: socket.socket, *more: str) -> Child:
        """A process that is starting, and counted. Raises OSError."""
        command = [*self._command, *more]
        with self._gatherer.attach(slot) as numbers:
            drain = settings.policy.drain
            worker = Child(slot, command, settings.environ, listening, numbers, drain)
        log.info("worker started", pid=worker.pid)
        self._metrics.started.add(str(slot))

        def is_ready(told: asyncio.Future[None]) -> None:
            if not told.cancelled():
                self._metrics.up.labels(str(slot)).set(1)

        def has_ended(code: asyncio.Future[int]) -> None:
            status = code.result()
            ended = signal.Signals(-status).name if status < 0 else str(status)
            self._metrics.ended.add(str(slot), ended)
            serving = any(
                other.slot == slot and other.is_ready() and not other.is_replaced()
                for other in self._alive()
            )
            self._metrics.up.labels(str(slot)).set(serving)

        worker.ready.add_done_callback(is_ready)
        worker.exited.add_done_callback(has_ended)
        return worker

    async def _heed(self, reload: asyncio.Event) -> None:
        """Reload whenever that is asked; never returns."""
        while True:
            await reload.wait()
            reload.clear()
            try:
                settings = self._read()
            except ConfigError as error:
                log.error("not reloaded", why=str(error))
                continue
            if not self._alive():
                self._settings = settings
                log.warning("settings not tried", why="no worker runs; the next ones have them")
                continue
            why = await self._reload(settings)
            if why:
                log.error("not reloaded", why=why)
            else:
                log.info("reloaded", workers=len(self._workers))

    async def _reload(self, settings: Settings) -> str:
        """Replace one worker after the other; why that had to end, the others go on as they are."""

        def outdated() -> Child | None:
            serving = [each for each in self._alive() if not each.is_replaced()]
            return next((each for each in serving if each.environ is not settings.environ), None)

        while old := outdated():
            why = await self._replace(old, settings)
            if why:
                return why
        return ""

    async def _replace(self, old: Child, settings: Settings) -> str:
        """Have a worker's place taken by one that serves before it goes; why that cannot be."""
        slot = old.slot
        try:
            new = self._start(slot, settings, old.listening(), SUCCESSOR)
        except OSError as error:
            return f"a worker could not be started: {error}"
        self._successors[slot] = new
        await asyncio.wait({new.ready}, timeout=settings.policy.start)
        if not new.is_ready():
            late = new.runs()
            new.send(signal.SIGKILL)
            code = await asyncio.shield(new.exited)
            # Unless the old one has ended meanwhile, and it was already in its place.
            if self._successors.get(slot) is new:
                del self._successors[slot]
            if late:
                return f"a new worker did not serve within {settings.policy.start:g} s"
            return f"a new worker {how_ended(code)}: see its message above"
        # It is known to work: who ends from now on is restarted with it.
        self._settings = settings
        if old.runs():
            old.replace()
            self._leaving.add(old)
            await self._leave(old)
        return ""

    async def _leave(self, old: Child) -> None:
        """Wait for the end of one that was replaced."""
        await asyncio.wait({old.exited}, timeout=old.drain)
        if old.runs():
            log.warning("worker killed", pid=old.pid, why="it did not end in time")
            old.send(signal.SIGKILL)
        how = how_ended(await asyncio.shield(old.exited))
        self._leaving.discard(old)
        log.info("worker replaced", pid=old.pid, how=how, age=round(old.age(), 1))

    def _hopeless(self) -> bool:
        policy = self._settings.policy
        return all(
            deaths >= policy.tries
            and (worker is None or not worker.runs() or worker.age() < policy.quick)
            for deaths, worker in zip(self._deaths, self._workers, strict=True)
        )

    def _alive(self) -> list[Child]:
        # Some are in two of them for a turn of the event loop.
        all_ = dict.fromkeys((*self._workers, *self._successors.values(), *self._leaving))
        return [worker for worker in all_ if worker and worker.runs()]

    async def _end(self, stop: Stop) -> None:
        """SIGTERM to all, and SIGKILL to those that do not end in time."""
        alive = self._alive()
        for worker in alive:
            # One that was replaced drains already; a second signal would hurry it.
            if not worker.is_replaced():
                worker.send(signal.SIGTERM)
        if not alive:
            return
        hurry = asyncio.create_task(stop.hurry.wait())
        ended = asyncio.create_task(_ended(alive))
        await asyncio.wait(
            {hurry, ended},
            timeout=max(worker.drain for worker in alive),
            return_when=asyncio.FIRST_COMPLETED,
        )
        why = "asked to hurry" if hurry.done() else "it did not end in time"
        hurry.cancel()
        for worker in self._alive():
            log.warning("worker killed", pid=worker.pid, why=why)
            worker.send(signal.SIGKILL)
        await ended


async def _ended(workers: Sequence[Child]) -> Literal[True]:
    await asyncio.gather(*(worker.exited for worker in workers))
    return True
