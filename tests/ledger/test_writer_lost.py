"""An ingest whose connection goes away while the server takes nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest
import uvloop

from tests.ledger.support import blocks, config, line
from tests.support import Database, writer_of
from verifier.errors import Unavailable

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


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
async def test_a_connection_lost_in_the_middle_of_a_copy_ends_the_ingest(
    loop: Callable[[], asyncio.AbstractEventLoop], ledger: Database, primary: asyncpg.Connection
) -> None:
    """What waits to be sent when the server dies is given up at once, not at the bound.

    On uvloop as well, as a worker runs: to write to what is closed raises there.
    """

    async def ingest() -> None:
        writer = writer_of(config(ledger))
        # A few megabytes: more than the socket holds.
        await writer.ingest(blocks(line(n) for n in range(9_000)))

    def alone() -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(ingest())

    await primary.execute(SLOW)
    try:
        ended = asyncio.create_task(asyncio.to_thread(alone))
        async with asyncio.timeout(10):
            while (pid := await primary.fetchval(SLEEPING)) is None:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        await primary.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(Unavailable, match="no_database"):
            async with asyncio.timeout(5):
                await ended
    finally:
        await primary.execute("DROP TRIGGER slow ON invoice; DROP FUNCTION slow()")
