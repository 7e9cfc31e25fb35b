"""Keys: what one looks like, and what is kept of it.

As GitHub's: a prefix that people and leak scanners know, 30 random characters, and a checksum that
stops typos and cheap floods before any look-up; it stops no forger. What is kept is an HMAC under a
pepper, found by equality: 178 random bits need no slow hash.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Literal, get_args
from zlib import crc32

from verifier.errors import ConfigError

Mode = Literal["live", "test"]
MODES: tuple[Mode, ...] = get_args(Mode)

# What a key may be good for; each route says which it needs.
Scope = Literal["verify", "explain", "ingest", "watermark", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_ALPHABET = digits + ascii_uppercase + ascii_lowercase
_RANDOM = 30
_CHECKSUM = 6
_FORM = re.compile(
    rf"ivk_(?:{'|'.join(MODES)})_([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECKSUM}}})"
)

# Characters of the digest, in hexadecimal, by which lists and logs name a key.
LABEL = 8

# A shorter pepper could be found by trying.
MIN_PEPPER = 32


def make(mode: Mode, choose: Callable[[str], str]) -> str:
    """A new key; ``choose`` picks one of some characters (``secrets.choice``)."""
    body = "".join(choose(_ALPHABET) for _ in range(_RANDOM))
    return f"ivk_{mode}_{body}{checksum(body)}"


def checksum(body: str) -> str:
    """CRC-32 of the random part alone, in base 62."""
    rest, text = crc32(body.encode()), ""
    while rest:
        rest, digit = divmod(rest, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return text.rjust(_CHECKSUM, _ALPHABET[0])


def is_key(text: str) -> bool:
    """Whether a text has the form of a key, checksum included."""
    form = _FORM.fullmatch(text)
    return form is not None and form[2] == checksum(form[1])


def digest(pepper: bytes, key: str) -> bytes:
    """What is kept of a key: 32 bytes."""
    return hmac.digest(pepper, key.encode(), "sha256")


def label(kept: bytes) -> str:
    """What a key is called where it is not to be seen."""
    return kept.hex()[:LABEL]


def peppers_of(given: Sequence[str]) -> tuple[bytes, ...]:
    """The peppers of a setting: new keys are kept under the first, old ones are found under any.

    ConfigError without one, and for one that is too short; it is not quoted.
    """
    if not given:
        raise ConfigError(
            "VERIFIER_KEY_PEPPERS is not set: keys are kept under it. Expected a secret of at "
            f"least {MIN_PEPPER} characters (openssl rand -hex 32), the same for all workers and "
            "for `verifier keys`; or VERIFIER_AUTH=off, and then whoever reaches the port may ask "
            "and feed"
        )
    for place, pepper in enumerate(given, 1):
        if len(pepper) < MIN_PEPPER:
            raise ConfigError(
                f"VERIFIER_KEY_PEPPERS: number {place} has {len(pepper)} characters; expected at "
                f"least {MIN_PEPPER} (openssl rand -hex 32)"
            )
    return tuple(pepper.encode() for pepper in given)
