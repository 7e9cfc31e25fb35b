"""One port for many workers, and for nobody else."""

from __future__ import annotations

import socket

import pytest

from verifier.cli.ports import Reservation, url_of
from verifier.errors import ConfigError


def listener(port: int) -> socket.socket:
    """A worker's socket."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock


def test_workers_share_it() -> None:
    """Port 0 becomes a free port, and several workers listen on it beside the reservation."""
    with Reservation("127.0.0.1", 0) as address:
        assert address.url == f"http://127.0.0.1:{address.port}"
        with listener(address.port), listener(address.port):
            for _ in range(8):
                socket.create_connection(("127.0.0.1", address.port), timeout=1).close()


def test_taken_port_is_refused() -> None:
    """A port where another service listens is refused, even if that one would share it."""
    with (
        listener(0) as other,
        pytest.raises(ConfigError, match=r"cannot serve on 127.0.0.1 port \d+: .*in use"),
    ):
        Reservation("127.0.0.1", other.getsockname()[1])


def test_second_supervisor_is_refused() -> None:
    """Two supervisors never share a port, not even before their workers listen."""
    with (
        Reservation("127.0.0.1", 0) as address,
        pytest.raises(ConfigError, match="in use"),
    ):
        Reservation("127.0.0.1", address.port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1"])
def test_bad_host(host: str) -> None:
    """A host that is not ours or does not exist is an error of configuration."""
    with pytest.raises(ConfigError, match=f"cannot serve on {host} port 1234"):
        Reservation(host, 1234)


def test_urls() -> None:
    """An IPv6 address stands in brackets."""
    assert url_of("::1", 80) == "http://[::1]:80"


def test_a_port_is_there_again_at_once() -> None:
    """What is left of connections that we have closed keeps no port for a minute."""
    with Reservation("127.0.0.1", 0) as address:
        with address.listener() as listening:
            listening.listen()
            with socket.create_connection((address.host, address.port)) as client:
                ours, _ = listening.accept()
                # Whoever closes first is the one of whom something is left.
                ours.close()
                assert client.recv(1) == b""
        port = address.port
    with Reservation("127.0.0.1", port) as again:
        assert again.port == port
