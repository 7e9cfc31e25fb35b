"""An ingest whose connection goes away while the server takes nothing more."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.ledger.support import blocks, line
from tests.support import Database
from verifier.errors import Unavailable
from verifier.ledger.ingest.writer import Writer

# Waits at the first row, so that the rest of the COPY is not read.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(60); RETURN new; END $$;
CREATE TRIGGER slow BEFORE INSERT ON invoice FOR EACH ROW EXECUTE FUNCTION slow();
"""

SLEEPING = """
SELECT pid FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND datname = current_database()
"""


async def test_a_connection_lost_in_the_middle_of_a_copy_ends_the_ingest(
    ledger: Database, writer: Writer, primary: asyncpg.Connection
) -> None:
    """What waits to be sent when the server dies is given up at once, not at the bound."""
    await primary.execute(SLOW)
    try:
        # A few megabytes: more than the socket holds.
        ingest = asyncio.create_task(writer.ingest(blocks(line(n) for n in range(9_000))))
        async with asyncio.timeout(10):
            while (pid := await primary.fetchval(SLEEPING)) is None:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        await primary.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(Unavailable, match="no_database"):
            async with asyncio.timeout(5):
                await ingest
    finally:
        await primary.execute("DROP TRIGGER slow ON invoice; DROP FUNCTION slow()")
