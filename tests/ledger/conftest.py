"""What the tests of the ledger write with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.ledger.support import config
from tests.support import Database, connected, writer_of
from verifier.ledger.ingest.writer import Writer


@pytest.fixture
async def writer(ledger: Database) -> AsyncIterator[Writer]:
    """Make a writer to the test's ledger."""
    writer = writer_of(config(ledger))
    yield writer
    await writer.close()


@pytest.fixture
async def primary(ledger: Database) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the primary."""
    async with connected(ledger.primary_dsn) as connection:
        yield connection
