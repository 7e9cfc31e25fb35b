"""The rest of a body whose request was refused: read and discarded, a piece at a time.

If it stayed unread, closing would reset the connection, and the client would never read why it was
refused. If it were read from all clients at once, as aiohttp does, others would wait.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from aiohttp import StreamReader

# Seconds between two looks when there was nothing to read: no event covers several bodies.
_IDLE = 0.001


class Leftovers:
    """Discards the rest of bodies: one piece of one body in each round of the event loop.

    Each may take ``seconds``, and there may be ``most`` at once: each holds up to twice aiohttp's
    buffer, and a closed connection is not noticed while nothing is read from it.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        # The next to be read from first.
        self._bodies: OrderedDict[StreamReader, None] = OrderedDict()
        self._reading: asyncio.Task[None] | None = None

    async def pass_over(self, body: StreamReader) -> None:
        """Return when a body has ended.

        Raises TimeoutError (at once when there are too many), and the error of a broken body.
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
            # A broken one is about to be removed.
            found = body.exception() is None and body.read_nowait()
            await asyncio.sleep(0 if found else _IDLE)
        self._reading = None
