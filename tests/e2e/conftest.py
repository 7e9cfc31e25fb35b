"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest

from verifier.app.service import Service
from verifier.config import Config


@pytest.fixture
def built() -> Service:
    """Give a service that is wired but not started."""
    return Service(Config.of(primary_dsn="postgresql:///nowhere", auth="off"))
