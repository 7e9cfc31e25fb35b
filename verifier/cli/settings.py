"""The settings of commands that work on given databases."""

from __future__ import annotations

import os
from ipaddress import ip_address

from verifier.config import Config
from verifier.errors import ConfigError


def with_primary() -> Config:
    """Config from the environment; ConfigError when it names no primary."""
    config = Config.from_env(os.environ)
    if not config.databases.primary_dsn:
        raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
    return config


def for_host(config: Config, host: str) -> Config:
    """The settings of a service on this host: on a loopback address the ledger is exposed."""
    return config.replaced(expose_ledger="on") if _is_loopback(host) else config


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
