from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from bench import agreement
from loadtests.processes import RigError, Server
from tests.support import Database, run, wait_replayed, writer_of
from verifier.config import Config
from verifier.database.migrate import migrate
from verifier.invoice.verdict import SHANGHAI
from verifier.synthetic.ledger import Ledger
from verifier.synthetic.questions import Questions


def test_what_two_answers_have_in_common() -> None:
    """Ids and freshness are an answer's own; everything else must agree."""
    one = msgspec.json.encode({"verdict": "match", "id": "a", "freshness": {}})
    other = msgspec.json.encode({"verdict": "match", "id": "b"})
    assert agreement.essence(200, one) == agreement.essence(200, other)
    assert agreement.essence(200, one) != agreement.essence(422, other)


async def _fill(database: Database, ledger: Ledger) -> None:
    await migrate(database.primary_dsn)
    writer = writer_of(Config.of(primary_dsn=database.primary_dsn))

    async def lines() -> AsyncIterator[bytes]:
        yield b"".join(ledger.lines()).rstrip()

    result = await writer.ingest(lines())
    await writer.close()
    assert result.accepted == ledger.rows
    await wait_replayed(database.primary_dsn, database.replica_dsns)


def test_peers_answer_as_the_service_does(database: Database, tmp_path: Path) -> None:
    """On questions of every shape and verdict; a peer that judged less would only be faster."""
    ledger = Ledger(2_000, 1, datetime.now(SHANGHAI).date())
    run(_fill(database, ledger))
    bodies = [msgspec.json.encode(case.request) for case in Questions(ledger, 500, 1)]
    service = {
        "VERIFIER_PRIMARY_DSN": database.primary_dsn,
        "VERIFIER_REPLICA_DSNS": ",".join(database.replica_dsns),
    }
    peer = {"BENCH_DSN": database.replica_dsns[0]}
    core = min(os.sched_getaffinity(0))
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                Server([sys.executable, "-m", *command], environ, core, tmp_path / name)
            )
            for name, command, environ in (
                ("service", ["verifier", "serve", "--port", "0"], service),
                ("pool", ["bench.peers.pool"], peer),
                ("fastapi", ["bench.peers.fastapi_app"], peer),
            )
        }
        verdicts = agreement.check(servers, bodies)
        assert set(verdicts) == {"match", "mismatch", "not_found", "pending", "invalid"}
        bare = Server([sys.executable, "-m", "bench.peers.bare", "9"], {}, core, tmp_path / "bare")
        stack.enter_context(bare)
        with pytest.raises((RigError, msgspec.DecodeError)):
            agreement.check({"service": servers["service"], "bare": bare}, bodies[:1])
