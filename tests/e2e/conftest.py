"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest
from aiohttp import web

from verifier import app
from verifier.config import Config


@pytest.fixture
def routes() -> list[web.AbstractRoute]:
    """Give the routes of an application that is wired but not started."""
    built = app.build(Config(primary_dsn="postgresql:///nowhere"))
    return list(built.router.routes())
