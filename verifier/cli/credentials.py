"""Where a command that asks a service has its API key from.

All users of a machine see what stands on a command line, and shells keep it: so ``--key`` names a
file. What stands in the environment, only the same user sees.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Annotated

import typer

from verifier.access.keys import is_key
from verifier.errors import VerifierError

_OPTION = "--key"
_VARIABLE, _FILE_VARIABLE = "VERIFIER_KEY", "VERIFIER_KEY_FILE"

KEY_HELP = (
    "A file whose first line is the API key to ask with, for you alone to read. Without it, "
    f"{_VARIABLE} holds the key itself, or {_FILE_VARIABLE} names a file."
)
KeyFile = Annotated[str | None, typer.Option(_OPTION, metavar="FILE", help=KEY_HELP)]

_PREFIX = re.compile(r"ivk_(?:live|test)_")
# No file is called like this; a key that was cut or mistyped is a secret nevertheless.
_LIKE_A_KEY = re.compile(_PREFIX.pattern + r"[0-9A-Za-z]{12}")
_AFTER_PREFIX = 36
# A key has 45 bytes; what has no end is no key.
_MOST_BYTES = 256


class BadKey(VerifierError):
    """A key that cannot be used: says where it is from and what was expected, not what it is."""

    code = "bad_key"


def take_key(
    file: str | None, environ: MutableMapping[str, str], warn: Callable[[str], None]
) -> str | None:
    """The key in ``file`` (of ``--key``), or else that of the environment; None without any.

    The environment has it no longer: processes that are started later do not inherit it. ``warn``
    is told of a file that is open to others. Raises BadKey.
    """
    own = environ.pop(_VARIABLE, "").strip()
    named = environ.pop(_FILE_VARIABLE, "").strip()
    if file is not None:
        return _read(file, _OPTION, warn)
    if own and named:
        raise BadKey(f"{_VARIABLE} and {_FILE_VARIABLE} are both set: expected one of them")
    if named:
        return _read(named, _FILE_VARIABLE, warn)
    return _checked(own, _VARIABLE) if own else None


def _read(file: str, source: str, warn: Callable[[str], None]) -> str:
    """The first line of a file; ``source`` is where its name comes from."""
    if _LIKE_A_KEY.search(file):
        raise BadKey(
            f"{source}: expected the name of a file that holds the key, got a key itself. All "
            "users of this machine can see a command line, and a shell keeps it: put the key into "
            f"a file that only you can read, or into {_VARIABLE}, and have this one replaced"
        )
    try:
        with Path(file).open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            line = opened.readline(_MOST_BYTES)
    except (OSError, ValueError) as error:
        # A ValueError: a name with a NUL.
        why = error.strerror if isinstance(error, OSError) else error
        raise BadKey(f"{source}: {file}: {why}") from error
    # Pipes are nobody else's, like those of <(…).
    if stat.S_ISREG(mode) and mode & 0o077:
        warn(f"{file} holds a key and is open to others (mode {mode & 0o777:o}): chmod 600 {file}")
    return _checked(line.decode("latin-1").strip(), f"{source}: {file}")


def _checked(text: str, source: str) -> str:
    if is_key(text):
        return text
    found = _PREFIX.match(text)
    if found is None:
        got = f"{len(text)} characters that begin otherwise"
    elif len(text) - found.end() != _AFTER_PREFIX:
        got = f"{found[0]}… with {len(text) - found.end()} after it"
    else:
        got = f"{found[0]}… in which a character is wrong: the checksum does not fit"
    raise BadKey(
        f"{source}: expected ivk_live_ or ivk_test_ and {_AFTER_PREFIX} letters and digits, got "
        f"{got}"
    )
