"""The settings of commands that work on given databases."""

from __future__ import annotations

import os

from verifier.config import Config
from verifier.errors import ConfigError


def with_primary() -> Config:
    """Config from the environment; ConfigError when it names no primary."""
    config = Config.from_env(os.environ)
    if not config.primary_dsn:
        raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
    return config
