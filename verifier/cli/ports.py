"""One TCP port for several workers: reserved by the supervisor, shared by SO_REUSEPORT."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from verifier.errors import ConfigError


def url_of(host: str, port: int) -> str:
    """The address that a caller on this machine uses."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Reservation:
    """A bound socket that never listens: it keeps the port ours while no worker runs.

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
            self._socket = socket.socket(family, kind)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind(address)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"cannot serve on {host} port {port}: {error}") from error
        self.host, self.port = self._socket.getsockname()[:2]
        self.url = url_of(self.host, self.port)

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for whoever listens on it instead of workers."""
        return self._socket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
