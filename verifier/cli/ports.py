"""One TCP port for several workers: reserved by the supervisor, shared by SO_REUSEPORT."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from verifier.errors import ConfigError


def url_of(host: str, port: int) -> str:
    """The address that a caller on this machine uses."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(family: int, kind: int, address: Any, *options: int) -> socket.socket:
    with ExitStack() as undo:
        made = undo.enter_context(socket.socket(family, kind))
        for option in (socket.SO_REUSEPORT, *options):
            made.setsockopt(socket.SOL_SOCKET, option, 1)
        made.bind(address)
        undo.pop_all()
        return made


class Reservation:
    """A bound socket that never listens: it keeps the port ours while nobody does.

    ``port`` 0 picks a free one. Raises ConfigError when the address cannot be had.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            # SO_REUSEPORT alone would let us share the port with another service of this user.
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            self._socket = _bound(family, kind, address)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"cannot serve on {host} port {port}: {error}") from error
        self.host, self.port = self._socket.getsockname()[:2]
        self.url = url_of(self.host, self.port)

    def listener(self) -> socket.socket:
        """One more socket of this address; those that listen share its connections. OSError."""
        ours = self._socket
        # Else what is left of its connections for a minute after their end would keep the port from
        # the next start. Not for ours, beside which that would let in any service.
        return _bound(ours.family, ours.type, ours.getsockname(), socket.SO_REUSEADDR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
