"""Why a DSN can lead nowhere. Never a word of the DSN itself, which may hold a password.

That goes for the messages of the library that takes it apart, too: it splits a password that has a
``#``, ``/`` or ``?`` in it, and quotes a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit

_EXPECTED = "expected postgresql://user@host:port/database"
_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "target_session_attrs": (
            *("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
        ),
    }
)
_PORTS = range(1, 65_536)


def wrong_with(dsn: str) -> str:
    """Why a DSN can lead nowhere, or nothing. A host that is not there yet may come."""
    try:
        url = urlsplit(dsn)
        if url.scheme not in ("postgresql", "postgres"):
            return _EXPECTED
        for host in url.netloc.rpartition("@")[2].split(","):
            one = urlsplit(f"//{host}")
            # Both raise ValueError for what they cannot be.
            _ = one.port, (one.hostname or "").encode("idna")
    except ValueError:
        return (
            f"{_EXPECTED}, with a port from 1 to 65535; in a password, percent-encode what is "
            "neither a letter nor a digit, such as %23 for #"
        )
    if "\0" in unquote(dsn):
        return f"{_EXPECTED}, without NUL"
    return _wrong_with_query(dict(parse_qsl(url.query, keep_blank_values=True)))


def _wrong_with_query(asked: Mapping[str, str]) -> str:
    hosts, ports = asked.get("host", "").split(","), asked.get("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        return f"{len(hosts)} hosts and {len(ports)} ports; expected one port, or as many as hosts"
    for port in filter(None, ports):
        if not port.isascii() or not port.isdigit() or int(port) not in _PORTS:
            return "port: expected a number from 1 to 65535"
    for host in hosts:
        try:
            # A path is the folder of a socket.
            _ = host.startswith("/") or host.encode("idna")
        except ValueError:
            return "host: expected names whose parts have 1 to 63 characters"
    for name, choices in _CHOICES.items():
        if name in asked and asked[name] not in choices:
            return f"{name}: expected one of {' '.join(choices)}"
    return ""
