from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from typing import Any

import asyncpg
import pytest

from bench import scale_fill
from bench.feed import Writer
from bench.load import Void
from loadtests.processes import RigError
from tests.support import Database, run
from verifier.database.migrate import migrate
from verifier.synthetic.ledger import Ledger

ROWS = 50


def _select(dsn: str, statement: str) -> Sequence[Any]:
    async def work() -> Sequence[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row[0] for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return run(work())


@pytest.fixture
def normal(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fill the ledger by COPY; the keys of invoices that are normal."""
    run(migrate(database.primary_dsn))
    monkeypatch.setenv("BENCH_DSN", database.primary_dsn)
    run(scale_fill.main(Ledger(ROWS, 1, date(2026, 11, 24)), 0, ROWS))
    assert _select(database.primary_dsn, "SELECT count(*) FROM invoice") == [ROWS]
    return list(_select(database.primary_dsn, "SELECT key FROM invoice WHERE status = 'normal'"))


def _fed(database: Database) -> int:
    count: int = _select(database.primary_dsn, "SELECT count(*) FROM ledger_change")[0]
    return count


def test_the_writer_changes_invoices_and_leaves_them_as_they_were(
    database: Database, normal: list[str]
) -> None:
    """Each change is a transaction that the feed tells of; afterwards each state is the old one."""
    before = _fed(database)
    writer = Writer(database.primary_dsn, normal[:3], 4.0)
    deadline = time.monotonic() + 20.0
    with writer:
        while writer.done < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)  # the writer counts in its thread and has no event for it
    # An odd number of changes of an invoice is taken back by one more, for all of them together.
    assert _fed(database) - before in {writer.done, writer.done + 1}
    states = "SELECT key FROM invoice WHERE status = 'normal'"
    assert sorted(_select(database.primary_dsn, states)) == sorted(normal)


def test_a_writer_that_cannot_keep_up_makes_the_run_void(
    database: Database, normal: list[str]
) -> None:
    """A rate that was not reached is never reported as one that was."""
    with (
        pytest.raises(Void, match="instead of"),
        Writer(database.primary_dsn, normal, 1_000_000.0),
    ):
        time.sleep(0.1)  # a rate needs a time: far fewer than 100,000 are possible in it


def test_a_writer_that_fails_says_so(database: Database) -> None:
    """Without a ledger there is nothing to change, and no measurement."""
    with (
        pytest.raises(RigError, match="invoice"),
        Writer(database.primary_dsn, ["26119000000012345678"], 10.0),
    ):
        pass
