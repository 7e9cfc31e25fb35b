"""The supervisor's side of ``/metrics``: the numbers of all workers, added up.

Each worker has a socket pair with the supervisor. It reports its numbers now and then, and when
a scrape asks for them; the last report of a worker that has ended stays in the sums, so no
counter falls when it is replaced. A worker that does not answer in time, because it is frozen or
busy, is shown as it last was, with the age of that beside it. What the kernel says of processes
the supervisor asks it, at a scrape.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from itertools import chain

import msgspec

from verifier.cli.channel import Ask, Channel, FromWorker, Report, Scrape, Shown
from verifier.metrics import SupervisorMetrics
from verifier.metrics.families import Family, added, of_process, rendered, taken

_decoder = msgspec.msgpack.Decoder(FromWorker)
_families = msgspec.msgpack.Decoder(list[Family])


class _Link:
    """The connection to one worker process, and what it last reported."""

    def __init__(self, slot: int, channel: Channel[FromWorker], now: float) -> None:
        self.slot = slot
        self.channel = channel
        self.last: Report | None = None
        self.told = now
        self._process: list[Family] = []
        self.fresh = asyncio.Event()
        self._wanted = 0
        self._asked = 0

    def ask(self, number: int) -> None:
        """Have ``fresh`` set once the worker has reported what it counts from now on.

        At most one Ask is under way, lest a frozen worker's socket fill up with them.
        """
        self._wanted = number
        self.fresh.clear()
        if not self._asked:
            self._say_ask()

    def _say_ask(self) -> None:
        self._asked = self._wanted
        self.channel.say(Ask(self._asked))

    def take(self, report: Report, now: float) -> None:
        """Note a report."""
        self.last = report
        self.told = now
        if not report.answers:
            return
        self._asked = 0
        if report.answers == self._wanted:
            self.fresh.set()
        else:
            self._say_ask()

    def look(self) -> None:
        """See what the kernel says about the process, which needs no answer from it."""
        if self.last is not None:
            self._process = of_process(self.last.pid) or self._process

    def families(self) -> list[Family]:
        """What the worker last reported, and what was last seen of its process."""
        return (
            self._process
            if self.last is None
            else [*_families.decode(self.last.numbers), *self._process]
        )

    def cumulative(self) -> list[Family]:
        """Of these, what only grows: it counts beyond the worker's end."""
        return [family for family in self.families() if family.cumulative]


class Gatherer:
    """Gathers the numbers of workers, each in its slot, a number from 0 on.

    ``wait`` is how many seconds a gathering waits for reports.
    """

    def __init__(self, wait: float) -> None:
        self.metrics = SupervisorMetrics()
        self._wait = wait
        # In the order of their starts. A slot may have two, while one takes the other's place.
        self._links: list[_Link] = []
        # What those who have ended counted, by slot.
        self._past: dict[int, list[Family]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gathered = 0
        self._running: asyncio.Task[bytes] | None = None
        self._next: asyncio.Task[bytes] | None = None

    def attach(self, slot: int) -> socket.socket:
        """The worker's end of a channel; the next process in this slot reports through it."""
        ours, theirs = socket.socketpair()
        self._start(self._follow(slot, ours))
        return theirs

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, slot: int, ours: socket.socket) -> None:
        """Hear a worker out until it ends."""
        clock = asyncio.get_running_loop().time
        channel = Channel(*await asyncio.open_unix_connection(sock=ours), _decoder)
        link = _Link(slot, channel, clock())
        self._links.append(link)
        try:
            async for message in channel.messages():
                match message:
                    case Report():
                        link.take(message, clock())
                    case Scrape(number):
                        self._start(self._show(channel, number))
        finally:
            self._past[slot] = added([*self._past.get(slot, []), *link.cumulative()])
            self._links.remove(link)
            link.fresh.set()
            await channel.close(self._wait)

    async def _show(self, channel: Channel[FromWorker], number: int) -> None:
        channel.say(Shown(number, await self.text()))

    async def text(self) -> bytes:
        """All that was counted until now, by every worker that answers in time, as text.

        Those who ask while a gathering runs share the next one: the running one may have heard
        a worker before it counted what they know of.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._turn(self._running))
        return await asyncio.shield(self._next)

    async def _turn(self, before: asyncio.Task[bytes] | None) -> bytes:
        if before is not None:
            await asyncio.wait({before})
        self._running, self._next = self._next, None
        await self._hear()
        return rendered(self._merged())

    async def _hear(self) -> None:
        """Ask every worker, and wait for the answers within the bound."""
        self._gathered += 1
        # One that has not reported yet is still starting, and has counted nothing.
        links = [link for link in self._links if link.last is not None]
        for link in links:
            link.ask(self._gathered)
        waiting = [asyncio.create_task(link.fresh.wait()) for link in links]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=self._wait)
            for task in late:
                task.cancel()

    def _merged(self) -> list[Family]:
        now = asyncio.get_running_loop().time()
        self.metrics.report_age.clear()
        # What is there now is told by the last one in a slot that has told anything.
        latest = {link.slot: link for link in self._links if link.last is not None}
        for slot, link in latest.items():
            self.metrics.report_age.labels(str(slot)).set(now - link.told)
        for link in self._links:
            link.look()
        supervisor = [*taken(self.metrics.registry), *of_process(os.getpid())]
        own = [family.of_worker("supervisor") for family in supervisor]
        told = [
            (link.slot, link.families() if latest.get(link.slot) is link else link.cumulative())
            for link in self._links
        ]
        workers = [
            family.of_worker(str(slot))
            for slot, families in chain(self._past.items(), told)
            for family in families
        ]
        return added([*workers, *own])

    async def close(self) -> None:
        """End all that still runs; for when every worker has ended."""
        tasks = {task for task in (*self._tasks, self._running, self._next) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
