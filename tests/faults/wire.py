"""HTTP as the fault suite speaks it: requests as bytes for the open loop, a session for feeders."""

from __future__ import annotations

import aiohttp


def request(method: str, path: str, body: bytes, token: str = "", key: str = "") -> bytes:
    """A request as it goes over the wire; without a ``key`` none is asked for."""
    lines = method == "POST" and path.startswith("/v1/ledger/")
    media = "application/x-ndjson" if lines else "application/json"
    extra = f"Consistency-Token: {token}\r\n" if token else ""
    extra += f"Authorization: Bearer {key}\r\n" if key else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: faults\r\nContent-Type: {media}\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def feeder(port: int, patience: float) -> aiohttp.ClientSession:
    """A client that feeds as fast as it is answered, each request within ``patience`` seconds."""
    return aiohttp.ClientSession(
        f"http://127.0.0.1:{port}",
        headers={"Content-Type": "application/x-ndjson"},
        timeout=aiohttp.ClientTimeout(total=patience),
    )
