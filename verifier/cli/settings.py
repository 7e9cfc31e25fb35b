"""The settings of commands that work on given databases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from verifier.config import Config
from verifier.errors import ConfigError


def with_primary(environ: Mapping[str, str] = os.environ) -> Config:
    """Config from the environment; ConfigError when it names no primary."""
    config = Config.from_env(environ)
    if not config.databases.primary_dsn:
        raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
    return config


def env_file_of(path: Path) -> Mapping[str, str]:
    """The variables of a file as of ``docker run --env-file``: NAME=VALUE a line, nothing quoted.

    Empty lines and those that begin with ``#`` are passed over. ConfigError names the line.
    """
    if path.exists() and not path.is_file():
        # Which could be read once at most, and might keep us waiting.
        raise ConfigError(f"--env-file {path}: expected a regular file")
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--env-file {path}: {error}") from error
    found = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"--env-file {path}, line {number}: expected NAME=VALUE")
        if "\0" in value:
            raise ConfigError(f"--env-file {path}, line {number}: {name} has a NUL character")
        if value[:1] in ("'", '"'):
            raise ConfigError(
                f"--env-file {path}, line {number}: {name} begins with a quotation mark; expected "
                "the value as it is"
            )
        found[name] = value
    return found


def for_host(config: Config, host: str) -> Config:
    """The settings of a service on this host: on a loopback address the ledger is exposed."""
    return config.replaced(expose_ledger="on") if _is_loopback(host) else config


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
