"""``verifier serve`` as an orchestrator sees it: ready line, signals, exit codes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.cli.support import until
from tests.e2e.process import NOWHERE, serving, starting
from tests.support import Database, variables
from verifier.database.migrate import migrate
from verifier.synthetic import example


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_ready_then_answers_then_stops(database: Database, workers: str) -> None:
    """It says ready on the port that it took, answers, and SIGTERM ends it with exit code 0."""
    async with serving(database, "--workers", workers) as service:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{service.url}/v1/verify", data=example.QUESTION) as response,
        ):
            # The example is in no ledger here, and its day is long complete.
            assert (await response.json())["verdict"] == "not_found"
        service.handle.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await service.handle.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_taken_port(database: Database, workers: str) -> None:
    """A port that is in use is one line on stderr and exit code 2."""
    await migrate(database.primary_dsn)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "verifier", "serve", "--port", port, "--workers", workers],
            env=os.environ | variables(primary_dsn=database.primary_dsn, log_level="error"),
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert result.returncode == 2
    assert result.stderr.startswith(f"verifier: cannot serve on 127.0.0.1 port {port}: ")
    assert "in use" in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_second_signal_ends_at_once(database: Database) -> None:
    """A second signal does not wait for requests that are still running."""
    async with serving(database) as service:

        async def slow() -> AsyncIterator[bytes]:
            yield b"{}\n"
            await asyncio.Event().wait()

        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(
                session.post(f"{service.url}/v1/verify/batch", data=slow())
            )
            await asyncio.wait({asking}, timeout=0.5)
            service.handle.send_signal(signal.SIGINT)
            await asyncio.wait({asking}, timeout=0.5)
            assert service.handle.returncode is None
            service.handle.send_signal(signal.SIGINT)
            async with asyncio.timeout(3):
                assert await service.handle.wait() == -signal.SIGKILL
            with pytest.raises(aiohttp.ClientError):
                await asking


async def test_a_reload_that_finds_no_database(database: Database, tmp_path: Path) -> None:
    """Those who serve go on; once the settings are right, they are replaced."""
    file = tmp_path / "env"
    dsns = {"primary_dsn": database.primary_dsn, "replica_dsns": ",".join(database.replica_dsns)}

    def write(settings: Mapping[str, object]) -> None:
        lines = [f"VERIFIER_{name.upper()}={value}" for name, value in settings.items()]
        file.write_text("\n".join(lines), "utf-8")

    await migrate(database.primary_dsn)
    write(dsns)
    options = ("--workers", "2", "--env-file", str(file))
    async with starting({"drain_accept": 0}, *options) as service:
        before = service.workers()
        write(NOWHERE)
        service.handle.send_signal(signal.SIGHUP)
        await until(lambda: len(service.workers()) == 3)
        await until(lambda: service.workers() == before)
        write(dsns)
        service.handle.send_signal(signal.SIGHUP)
        await until(lambda: not set(before) & set(service.workers()))
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{service.url}/v1/verify", data=example.QUESTION) as response,
        ):
            assert (await response.json())["verdict"] == "not_found"
