"""A client's connection, on a socket of its own.

asyncio's streams forget what has arrived when something cannot be sent any more; a server that
refuses a head does not wait for what comes behind it, and its refusal has to be read even so.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, suppress


class Ended(Exception):
    """The connection has ended within what was to be read."""


class Line:
    """One connection; ``asyncio.timeout`` bounds what it waits for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._arrived = bytearray()

    @classmethod
    async def open(cls, port: int) -> Line:
        """Connect to a port of this machine."""
        with ExitStack() as undo:
            sock = undo.enter_context(socket.socket())
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = cls(sock)
            await line._loop.sock_connect(sock, ("127.0.0.1", port))
            undo.pop_all()
        return line

    async def send(self, pieces: list[bytes]) -> None:
        """Send pieces one by one, as far as they are taken."""
        with suppress(ConnectionError):
            for piece in pieces:
                await self._loop.sock_sendall(self._sock, piece)
                if len(pieces) > 1:
                    await asyncio.sleep(0)

    def half_close(self) -> None:
        """Say that no more will come."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def _more(self) -> bool:
        """Wait for more; False at the end."""
        data = await self._loop.sock_recv(self._sock, 65_536)
        self._arrived += data
        return bool(data)

    async def until(self, separator: bytes) -> bytes:
        """What comes up to and with a separator; empty when nothing does. Raises Ended."""
        start = 0
        while (at := self._arrived.find(separator, start)) < 0:
            start = max(0, len(self._arrived) - len(separator) + 1)
            if not await self._more():
                if self._arrived:
                    raise Ended
                return b""
        return self._take(at + len(separator))

    async def exactly(self, count: int) -> bytes:
        """So many bytes. Raises Ended."""
        while len(self._arrived) < count:
            if not await self._more():
                raise Ended
        return self._take(count)

    async def rest(self) -> bytes:
        """All that comes until the end."""
        while await self._more():
            pass
        return self._take(len(self._arrived))

    def _take(self, count: int) -> bytes:
        taken = bytes(self._arrived[:count])
        del self._arrived[:count]
        return taken

    def close(self, *, reset: bool = False) -> None:
        """Go, at once with a ``reset``."""
        if reset:
            with suppress(OSError):
                linger = b"\1\0\0\0\0\0\0\0"
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()
