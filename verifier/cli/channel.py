"""What a worker and its supervisor tell each other about numbers, over a socket pair.

A message is its length, four bytes, and a MessagePack array.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

_LENGTH_BYTES = 4


class Report(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The numbers of the worker ``pid``, a list of Family.

    ``answers`` is the Ask's number, 0 when unasked.
    """

    numbers: msgspec.Raw
    pid: int
    answers: int


class Scrape(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A worker needs the numbers of all."""

    number: int


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The supervisor needs a worker's numbers as they are now."""

    number: int


class Shown(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The numbers of all, as text: the answer to the Scrape of this number."""

    number: int
    text: bytes


FromWorker = Report | Scrape
FromSupervisor = Ask | Shown


class Channel(Generic[T]):
    """One end of the pair. ``T`` is what the other end says; ``decoder`` reads it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: msgspec.msgpack.Decoder[T],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    async def messages(self) -> AsyncIterator[T]:
        """What the other end says, until it closes or dies, also in the middle of a message."""
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
                yield self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    def say(self, message: FromWorker | FromSupervisor) -> None:
        """Send a message; what the other end does not read yet is kept for it."""
        packed = msgspec.msgpack.encode(message)
        self._writer.write(len(packed).to_bytes(_LENGTH_BYTES) + packed)

    async def drained(self) -> None:
        """Return when the other end has read nearly all, or is gone."""
        with suppress(ConnectionError):
            await self._writer.drain()

    async def close(self, seconds: float) -> None:
        """Close this end; what has been said is still sent if the other one reads in time."""
        self._writer.close()
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                await self._writer.wait_closed()
