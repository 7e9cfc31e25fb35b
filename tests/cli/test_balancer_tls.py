"""The balancer's line for TLS, as its configuration has it behind a comment sign."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.cli.test_balancer import Rig, balanced
from tests.support import require_haproxy, require_tool
from verifier.cli import balancer
from verifier.cli.ports import Reservation

SHIPPED = "# bind :443 ssl crt /etc/haproxy/certs/"


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Have the line taken in, with a certificate for localhost, and the port that it has here."""
    require_haproxy()
    require_tool("openssl")
    certificates = tmp_path / "certs"
    certificates.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", "key.pem", "-out", "localhost.pem"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    both = (tmp_path / "localhost.pem").read_text() + (tmp_path / "key.pem").read_text()
    (certificates / "localhost.pem").write_text(both)
    with Reservation("127.0.0.1", 0) as reserved:
        free: int = reserved.port
    shipped = balancer.configuration

    def with_tls(*arguments: object) -> str:
        text = shipped(*arguments)  # type: ignore[arg-type]
        assert SHIPPED in text
        return text.replace(SHIPPED, f"bind 127.0.0.1:{free} ssl crt {certificates}/")

    monkeypatch.setattr(balancer, "configuration", with_tls)
    return free


def trusting(folder: Path) -> ssl.SSLContext:
    """A client that knows the certificate, and has no wishes of its own."""
    context = ssl.create_default_context(cafile=folder / "localhost.pem")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    # Debian's own level would refuse old versions before the balancer does.
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def spoken(port: int, context: ssl.SSLContext) -> tuple[str | None, str | None]:
    """The version and the protocol that both agree upon. SSLError when there is none."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.version(), secured.selected_alpn_protocol()


async def test_a_question_is_answered_over_tls(tmp_path: Path, port: int) -> None:
    """By the same rules as without it."""
    async with balanced(tmp_path) as rig, aiohttp.ClientSession() as session:
        secured = Rig(rig.balancer, f"https://localhost:{port}", rig.workers)
        connector = aiohttp.TCPConnector(ssl=trusting(tmp_path), family=socket.AF_INET)
        async with aiohttp.ClientSession(connector=connector) as client:
            assert (await secured.post(client, "/v1/verify"))[0] == 200
        assert (await rig.post(session, "/v1/verify"))[0] == 200


@pytest.mark.parametrize(
    ("most", "version"),
    [(ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")],
)
async def test_versions_that_are_safe(
    most: ssl.TLSVersion, version: str, tmp_path: Path, port: int
) -> None:
    """The newest that the client has, and HTTP/2 where it speaks it."""
    async with balanced(tmp_path):
        context = trusting(tmp_path)
        context.maximum_version = most
        context.set_alpn_protocols(["h2", "http/1.1"])
        assert spoken(port, context) == (version, "h2")


async def test_versions_that_are_not(tmp_path: Path, port: int) -> None:
    """TLS 1.1 is refused, whatever the client would take."""
    async with balanced(tmp_path):
        context = trusting(tmp_path)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            spoken(port, context)


async def test_a_cipher_without_forward_secrecy_is_refused(tmp_path: Path, port: int) -> None:
    """Who records traffic today and has the key tomorrow reads nothing."""
    async with balanced(tmp_path):
        context = trusting(tmp_path)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256:AES256-SHA")
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            spoken(port, context)
