"""HTTP/1.1 connections as the loop uses them: non-blocking, one request under way on each."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable

import msgspec

Address = tuple[str, int]

# What takes the place of a status when there was none: the connection ended first; no answer
# within the client's patience; nobody listens.
CUT, HUNG, UNREACHABLE = 0, -1, -2

_READ = 1 << 18
_LAST_CHUNK = b"\r\n0\r\n\r\n"
# What a server may say of its own accord (RFC 9110, 15.5.9).
_TIMED_OUT = b"HTTP/1.1 408 "


class Reply(msgspec.Struct, gc=False):
    """What came of a request: a status or one of the above, and seconds of the monotonic clock."""

    status: int
    head: bytes
    body: bytes
    intended: float
    sent: float
    received: float


Done = Callable[[Reply], None]


class BadAnswer(Exception):
    """What came is no answer that the service gives; the message quotes it."""


class Connection:
    """A connection; the loop registers it for its ``interest`` and calls ``ready``."""

    __slots__ = (
        "_buffer",
        "_done",
        "_intended",
        "_left",
        "_needed",
        "_parts",
        "_size",
        "_tail",
        "interest",
        "patience",
        "sent",
        "served",
        "socket",
    )

    def __init__(self, address: Address) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.interest = select.EPOLLIN
        self.sent = 0.0
        # Seconds after which its request has hung.
        self.patience = 0.0
        self.served = 0
        self._done: Done | None = None
        self._intended = 0.0
        self._left: memoryview | None = None
        self._buffer = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""
        # Bytes of the answer, head included, once they are known; -1 before, -2 when in chunks.
        self._needed = -1
        error = self.socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            self.socket.close()
            raise OSError(error, "connect")

    def fileno(self) -> int:
        """For epoll."""
        return self.socket.fileno()

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._done is not None

    def send(self, data: bytes, intended: float, done: Done, now: float) -> None:
        """Send a request; ``done`` is called exactly once. OSError when the connection is gone."""
        self._done = done
        self._intended = intended
        self.sent = now
        self.served += 1
        try:
            count = self.socket.send(data)
        except BlockingIOError:
            # Not connected yet, or its buffers are full.
            count = 0
        if count < len(data):
            self._left = memoryview(data)[count:]
            self.interest = select.EPOLLIN | select.EPOLLOUT

    def writable(self) -> None:
        """Send what is left. OSError when the connection is gone, or never came to be."""
        if self._left is not None:
            self._left = self._left[self.socket.send(self._left) :]
            if self._left:
                return
        self._left = None
        self.interest = select.EPOLLIN

    def readable(self) -> tuple[int, bytes, bytes] | None:
        """Read what has come; status, head and body once they are complete.

        ConnectionError when it has ended, BadAnswer when what came is none.
        """
        try:
            data = self.socket.recv(_READ)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionResetError("the other side has closed the connection")
        if self._done is None:
            if data.startswith(_TIMED_OUT):
                raise ConnectionResetError("the other side closes a connection that asks nothing")
            raise BadAnswer(f"an answer that nobody asked for: {data[:200]!r}")
        if self._needed == -1:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._needed = _length(self._buffer[: end + 2], end + 4)
            data, self._buffer = self._buffer, b""
        self._parts.append(data)
        self._size += len(data)
        if self._needed == -2:
            # Lines of JSON end in a line feed alone: only the last chunk looks like this.
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
            if self._tail != _LAST_CHUNK:
                return None
        elif self._size < self._needed:
            return None
        return self._complete()

    def finish(self, status: int, head: bytes, body: bytes, now: float) -> tuple[Done, Reply]:
        """End the request that is under way: whom to tell, and what."""
        done, self._done = self._done, None
        assert done is not None, "an answer without a question"
        return done, Reply(status, head, body, self._intended, self.sent, now)

    @property
    def unsent(self) -> bool:
        """Whether a part of the request has not left yet."""
        return self._left is not None

    def _complete(self) -> tuple[int, bytes, bytes]:
        whole = b"".join(self._parts)
        chunked = self._needed == -2
        self._parts, self._size, self._needed, self._tail = [], 0, -1, b""
        head, _, body = whole.partition(b"\r\n\r\n")
        return int(head[9:12]), head, _unchunked(body) if chunked else body


def _length(head: bytes, size: int) -> int:
    """The length of an answer with its head, of ``size`` bytes; -2 when it comes in chunks."""
    lowered = head.lower()
    _, found, after = lowered.partition(b"\r\ncontent-length:")
    if found:
        return size + int(after.partition(b"\r\n")[0])
    if b"\r\ntransfer-encoding: chunked\r\n" in lowered:
        return -2
    raise BadAnswer(f"an answer that does not tell its length: {head[:200]!r}")


def _unchunked(body: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
