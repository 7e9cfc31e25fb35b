"""What clients go on sending after their request was refused: passed over, at leisure.

Left unread, it would reset the connection, and the client would not come to read why it was
refused. Read from all clients at once, as aiohttp does, it would make others wait.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from aiohttp import StreamReader

# Seconds between two looks when one found nothing: no event tells of some of many bodies.
_IDLE = 0.001


class Leftovers:
    """Passes over the rest of bodies: in each round of the event loop, one piece of one of them.

    ``seconds`` is how long each may take, ``most`` how many there may be at once. Each holds up to
    twice aiohttp's buffer, and connections that are not read from are not known to be closed.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        # The next to be read from first.
        self._bodies: OrderedDict[StreamReader, None] = OrderedDict()
        self._reading: asyncio.Task[None] | None = None

    async def pass_over(self, body: StreamReader) -> None:
        """Return when a body has ended.

        Raises TimeoutError, at once when there are too many, and what breaks off a body.
        """
        broken_off = body.exception()
        if broken_off is not None:
            raise broken_off
        if len(self._bodies) >= self._most:
            raise TimeoutError
        self._bodies[body] = None
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(self._seconds):
                await body.wait_eof()
        finally:
            self._bodies.pop(body, None)

    async def _read(self) -> None:
        while self._bodies:
            body = next(iter(self._bodies))
            self._bodies.move_to_end(body)
            # One that is broken off is on its way out.
            found = body.exception() is None and body.read_nowait()
            await asyncio.sleep(0 if found else _IDLE)
        self._reading = None
