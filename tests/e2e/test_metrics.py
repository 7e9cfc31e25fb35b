"""Issue 9, E27: whoever asks for the metrics, and whichever worker answers, gets those of all."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.process import Process, serving
from tests.support import PEPPER, Database, made_key, variables
from verifier.database.migrate import migrate

ANSWERS = 'verifier_answers_total{endpoint="batch",verdict="invalid"}'
DURATIONS = 'verifier_request_duration_seconds_count{endpoint="batch",outcome="answered"}'
BATCH: dict[str, list[dict[str, str]]] = {"invoices": [{}] * 1000}

Samples = dict[str, float]


def samples(text: str) -> Samples:
    """The value of each line."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def ask(url: str, batches: int) -> None:
    """Ask 1,000 questions a batch, each batch on a connection of its own."""
    for _ in range(batches):
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/verify/batch", json=BATCH) as response,
        ):
            assert response.status == 200
            await response.read()


async def scrape(url: str, within: float = 10.0) -> Samples:
    """The metrics, over a new connection."""
    timeout = aiohttp.ClientTimeout(total=within)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{url}/metrics") as response,
    ):
        assert response.status == 200, await response.text()
        return samples(await response.text())


async def until_scraped(url: str, line: str, value: float) -> None:
    """Return when the metrics show a value, within a bound."""
    async with asyncio.timeout(20):
        while (await scrape(url)).get(line) != value:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def two_workers(database: Database) -> AsyncIterator[tuple[Process, str]]:
    """A service with two workers, and where the supervisor serves the metrics itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ("--workers", "2", "--metrics-port", port)
    async with serving(database, *options, report_interval=0.2) as service:
        yield service, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("workers", [2, 8])
async def test_e27_every_scrape_shows_the_sum(database: Database, workers: int) -> None:
    """Eight scrapes of several workers after 27,000 questions show 27,000 each time."""
    options = ("--workers", str(workers))
    async with serving(database, *options, read_connections=1, primary_connections=1) as service:
        await ask(service.url, 27)
        shown = [await scrape(service.url) for _ in range(8)]
    assert [each[ANSWERS] for each in shown] == [27_000.0] * 8
    assert [each[DURATIONS] for each in shown] == [27.0] * 8


async def test_e27_no_counter_falls_when_workers_are_killed(database: Database) -> None:
    """What killed workers had reported is counted on by those that replace them."""
    async with two_workers(database) as (service, metrics):
        await ask(service.url, 4)
        await until_scraped(metrics, ANSWERS, 4000.0)
        before = await scrape(metrics)
        for pid in service.workers():
            os.kill(pid, signal.SIGKILL)
        for worker in ("0", "1"):
            assert before[f'verifier_worker_up{{worker="{worker}"}}'] == 1.0
            line = f'verifier_workers_started_total{{worker="{worker}"}}'
            await until_scraped(metrics, line, 2.0)
            await until_scraped(metrics, f'verifier_worker_up{{worker="{worker}"}}', 1.0)
        await ask(service.url, 4)
        after, ours = await scrape(service.url), await scrape(metrics)
    assert after[ANSWERS] == ours[ANSWERS] == 8000.0
    assert after['verifier_workers_ended_total{how="SIGKILL",worker="0"}'] == 1.0
    counted = [name for name in before if "_total" in name or "_count" in name or "_bucket" in name]
    assert [name for name in counted if after[name] < before[name]] == []


async def test_e27_an_unscraped_worker_has_reported(database: Database) -> None:
    """A killed worker's counts are kept though nobody had scraped them: it reports by itself."""
    async with two_workers(database) as (service, metrics):
        await ask(service.url, 4)
        await asyncio.sleep(1.0)  # five times the report interval
        for pid in service.workers():
            os.kill(pid, signal.SIGKILL)
        assert (await scrape(metrics))[ANSWERS] == 4000.0


async def test_e27_a_frozen_worker_holds_no_scrape_up(database: Database) -> None:
    """A scrape is answered within a second with a frozen worker's last numbers and their age."""
    async with two_workers(database) as (service, metrics):
        await ask(service.url, 6)
        assert (await scrape(metrics))[ANSWERS] == 6000.0
        frozen = service.workers()[0]
        os.kill(frozen, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.5)
            shown = await scrape(metrics, within=1.5)
            through = [scrape(service.url, within=2.0) for _ in range(16)]
            answers = await asyncio.gather(*through, return_exceptions=True)
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert shown[ANSWERS] == 6000.0
        ages = [
            shown[f'verifier_worker_report_age_seconds{{worker="{worker}"}}'] for worker in "01"
        ]
        assert min(ages) < 0.5 < max(ages)
        # The kernel gives some of the connections to the frozen worker, the rest to the other.
        through_the_other = [each for each in answers if isinstance(each, dict)]
        assert {each[ANSWERS] for each in through_the_other} == {6000.0}
        await ask(service.url, 1)
        assert (await scrape(service.url))[ANSWERS] == 7000.0


async def test_e27_gauges_are_told_by_worker(database: Database) -> None:
    """Gauges and process metrics have the worker's slot, sums have not; a parser reads it all."""
    async with (
        two_workers(database) as (service, _),
        aiohttp.ClientSession() as session,
        asyncio.timeout(10),
    ):
        # A worker is ready when one database serves, and shows the others once it has seen them.
        text = ""
        while len(re.findall(r"^verifier_replica_lag_bytes\{", text, re.MULTILINE)) < 4:
            async with session.get(f"{service.url}/metrics") as response:
                text = await response.text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    own = {"verifier_build_info"}
    assert all(families[f"process_{name}"].samples for name in ("open_fds", "cpu_seconds"))
    for name, family in families.items():
        workers = {sample.labels.get("worker") for sample in family.samples}
        if not workers:
            continue
        if name.startswith("process_"):
            assert workers == {"0", "1", "supervisor"}, name
        elif (family.type == "gauge" and name not in own) or name.startswith("verifier_workers_"):
            assert workers == {"0", "1"}, name
        else:
            assert workers == {None}, name
    build = families["verifier_build_info"].samples
    assert [sample.value for sample in build] == [1.0]
    assert set(build[0].labels) == {"version", "python"}


async def test_e27_a_single_process_shows_its_own(database: Database) -> None:
    """Without a supervisor the worker's numbers are all there are, and have no worker label."""
    async with serving(database) as service:
        await ask(service.url, 1)
        # The way that single questions take past the router is timed too.
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{service.url}/v1/verify", json={}) as response,
        ):
            assert response.status == 422
        shown = await scrape(service.url)
    assert shown[ANSWERS] == 1000.0
    assert shown[DURATIONS.replace("batch", "verify").replace("answered", "invalid")] == 1.0
    assert shown["verifier_ledger_trusted"] == 1.0
    assert shown["process_open_fds"] > 0


async def test_e27_taken_metrics_port(database: Database) -> None:
    """A port for the metrics that is in use is one line on stderr and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "verifier", "serve", "--port", "0", "--metrics-port", port),
            env=os.environ | variables(primary_dsn=database.primary_dsn),
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    assert process.returncode == 2
    # Beside the warning that no keys are asked for.
    lines = [line for line in said.decode().splitlines() if "VERIFIER_AUTH=off" not in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"verifier: cannot serve metrics on 127.0.0.1 port {port}: ")


async def test_operators_need_no_key_on_a_port_of_their_own(database: Database) -> None:
    """VERIFIER_ADMIN_PORT has metrics and health without a key, and nothing else."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    await migrate(database.primary_dsn)
    await made_key(database.primary_dsn)
    settings = {"auth": "on", "key_peppers": PEPPER, "admin_port": port}
    async with serving(database, **settings) as service, aiohttp.ClientSession() as session:
        admin = f"http://127.0.0.1:{port}"
        shown = {}
        for url in (service.url, admin):
            for path in ("/metrics", "/livez", "/readyz", "/startupz", "/v1/freshness"):
                async with session.get(f"{url}{path}") as response:
                    shown[url, path] = response.status
        for pid in service.workers():
            os.kill(pid, signal.SIGSTOP)
        async with session.get(f"{admin}/readyz") as response:
            frozen = response.status, await response.json()
        for pid in service.workers():
            os.kill(pid, signal.SIGCONT)
    assert [shown[service.url, path] for path in ("/metrics", "/v1/freshness")] == [401, 401]
    health = ("/metrics", "/livez", "/readyz", "/startupz")
    assert [shown[admin, path] for path in health] == [200] * 4
    assert shown[admin, "/v1/freshness"] == 404
    assert frozen == (503, {"reasons": ["no_answer"]})
