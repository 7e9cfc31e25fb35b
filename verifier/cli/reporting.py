"""A worker's side of ``/metrics``: tells the supervisor its numbers, and shows those of all."""

from __future__ import annotations

import asyncio
import os
import socket
from types import TracebackType
from typing import Self

import msgspec

from verifier.cli.channel import Ask, Channel, FromSupervisor, Report, Scrape, Shown
from verifier.config import Numbers
from verifier.errors import Unavailable
from verifier.metrics.exposition import Exposition
from verifier.metrics.families import taken

_decoder = msgspec.msgpack.Decoder(FromSupervisor)

# A scrape may have to wait for the gathering before its own; each has the bound of Config.
_GATHERINGS = 3


class Reporter(Exposition):
    """Reports while it is open (``async with``), and a last time when it is closed."""

    def __init__(self, end: socket.socket, numbers: Numbers) -> None:
        super().__init__()
        self._end = end
        self._interval = numbers.report_interval
        self._wait = numbers.scrape_wait
        self._scrapes = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def __aenter__(self) -> Self:
        streams = await asyncio.open_unix_connection(sock=self._end)
        self._channel = Channel(*streams, _decoder)
        self._tasks = {
            asyncio.create_task(self._report_regularly()),
            asyncio.create_task(self._listen()),
        }
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._report()
        await self._channel.close(self._wait)

    def _report(self, answers: int = 0) -> None:
        numbers = msgspec.msgpack.encode(taken(self.metrics.registry))
        self._channel.say(Report(msgspec.Raw(numbers), os.getpid(), answers))

    async def _report_regularly(self) -> None:
        while True:
            # A supervisor that does not read must not make us keep what we tell it.
            await self._channel.drained()
            self._report()
            await asyncio.sleep(self._interval)

    async def _listen(self) -> None:
        async for message in self._channel.messages():
            match message:
                case Ask(number):
                    self._report(number)
                case Shown(number, text):
                    waiting = self._waiting.get(number)
                    # One who has just given up is still there for a turn of the loop.
                    if waiting is not None and not waiting.done():
                        waiting.set_result(text)

    async def text(self) -> bytes:
        """The numbers of all workers; Unavailable when the supervisor does not tell them."""
        self._scrapes += 1
        number = self._scrapes
        shown: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_GATHERINGS * self._wait):
                await self._channel.drained()
                self._waiting[number] = shown
                self._channel.say(Scrape(number))
                return await shown
        except TimeoutError:
            raise Unavailable("no_supervisor") from None
        finally:
            self._waiting.pop(number, None)
