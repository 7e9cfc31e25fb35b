"""The keys that ``verifier up`` begins with: one asks, one feeds; in files beside the data.

The files are written before the database has them, which is seen to at every start: a crash in
between leaves no key that nobody knows.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from verifier.access.keys import Scope, is_key, make, peppers_of
from verifier.access.store import opened
from verifier.config import Config
from verifier.errors import ClusterError

TENANT = "demo"
ASK = "ask.key"
FEED = "feed.key"
PEPPER = "pepper"

_SCOPES: dict[str, tuple[Scope, ...]] = {
    ASK: ("verify", "explain", "metrics"),
    FEED: ("ingest", "watermark"),
}


def pepper(data: Path) -> str:
    """The pepper of a data directory, made at its first start."""
    return _kept(data / PEPPER, secrets.token_hex(32))


async def ensure(config: Config, data: Path) -> None:
    """Have the demo's keys, in their files and on the primary. ClusterError names a bad file."""
    async with opened(config, peppers_of(config.access.key_peppers), "verifier up") as store:
        for file, scopes in _SCOPES.items():
            key = _kept(data / file, make("test", secrets.choice))
            if not is_key(key):
                raise ClusterError(f"{data / file} holds no key; expected one, or no such file")
            name = file.removesuffix(".key")
            await store.ensure_key(TENANT, name, key, "test", scopes)


def _kept(file: Path, new: str) -> str:
    """What a file has, or from now on ``new``: whole, and for nobody else to read."""
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        part = file.with_name(f"{file.name}.part")
        part.touch(mode=0o600)
        part.write_text(f"{new}\n", "utf-8")
        part.replace(file)
        return new
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"{file} cannot be read: {error}") from error
