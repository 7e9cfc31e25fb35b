"""The supervisor, with workers made by hand and real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.cli.support import Journal, runs, until
from verifier.cli.gathering import Gatherer
from verifier.cli.signals import Stop
from verifier.cli.supervisor import Policy, Settings, Supervisor, WorkersError
from verifier.errors import ConfigError

FAKE = Path(__file__).with_name("fake_worker.py")
PATIENT = Policy(drain=5.0, quick=0.0, first_pause=0.01)


class Rig:
    """A running supervisor of fake workers."""

    def __init__(self, path: Path, mode: str, count: int, policy: Policy) -> None:
        self.journal = Journal(path / "journal")
        self.stop = Stop()
        self.ready = 0
        # What the next reading of the settings finds; an error is raised.
        self.environ: dict[str, str] | ConfigError = {}
        self.policy = policy
        self.supervisor = Supervisor(
            [sys.executable, str(FAKE), str(self.journal.path), mode],
            [socket.socket] * count,
            self._settings,
            Gatherer(0.1),
            random=lambda: 0.0,
        )
        self.task = asyncio.create_task(self.supervisor.run(self.stop, self._count))

    def _settings(self) -> Settings:
        if isinstance(self.environ, ConfigError):
            raise self.environ
        return Settings({**os.environ, **self.environ}, self.policy)

    def _count(self) -> None:
        self.ready += 1


@asynccontextmanager
async def supervised(
    path: Path, mode: str = "steady", count: int = 2, policy: Policy = PATIENT
) -> AsyncIterator[Rig]:
    """Supervise while the block runs; nothing runs afterwards."""
    rig = Rig(path, mode, count, policy)
    try:
        yield rig
    finally:
        rig.stop.ask(signal.SIGTERM)
        await asyncio.wait({rig.task})
        assert not [pid for pid in rig.journal.pids("start") if runs(pid)]


async def test_ready_is_said_once(tmp_path: Path) -> None:
    """Readiness is told when every worker is ready, and not again after a restart."""
    async with supervised(tmp_path, count=3) as rig:
        await until(lambda: rig.ready)
        assert len(rig.journal.pids("ready")) == 3
        os.kill(rig.supervisor.pids[0], signal.SIGKILL)
        await until(lambda: len(rig.journal.pids("ready")) == 4)
        assert rig.ready == 1


async def test_not_ready_without_all(tmp_path: Path) -> None:
    """Workers that have started but are not ready are not reported as serving."""
    async with supervised(tmp_path, "silent") as rig:
        await until(lambda: len(rig.journal.pids("start")) == 2)
        assert rig.ready == 0


async def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """A worker that is killed gets a successor while the other one goes on undisturbed."""
    async with supervised(tmp_path) as rig:
        await until(lambda: rig.ready)
        victim, other = rig.supervisor.pids
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(rig.journal.pids("ready")) == 3)
        assert other in rig.supervisor.pids
        assert victim not in rig.supervisor.pids
        assert len(rig.supervisor.pids) == 2


async def test_stop_asks_each_worker_once(tmp_path: Path) -> None:
    """A stop sends SIGTERM to every worker exactly once and waits for their ends."""
    async with supervised(tmp_path) as rig:
        await until(lambda: rig.ready)
        pids = rig.supervisor.pids
        rig.stop.ask(signal.SIGINT)
        await rig.task
        assert sorted(rig.journal.pids("SIGTERM")) == sorted(pids)
        assert rig.supervisor.pids == []


async def test_drain_is_bounded(tmp_path: Path) -> None:
    """A worker that does not end within the drain time is killed."""
    policy = Policy(drain=0.2)
    async with supervised(tmp_path, "deaf", 1, policy) as rig:
        await until(lambda: rig.ready)
        rig.stop.ask(signal.SIGTERM)
        async with asyncio.timeout(3):
            await rig.task
        assert len(rig.journal.pids("SIGTERM")) == 1


async def test_frozen_worker_is_killed(tmp_path: Path) -> None:
    """A worker that is frozen does not keep the stop from ending."""
    async with supervised(tmp_path, count=1, policy=Policy(drain=0.2)) as rig:
        await until(lambda: rig.ready)
        os.kill(rig.supervisor.pids[0], signal.SIGSTOP)
        rig.stop.ask(signal.SIGTERM)
        async with asyncio.timeout(3):
            await rig.task


async def test_second_signal_does_not_wait(tmp_path: Path) -> None:
    """A second signal kills workers that are still draining."""
    async with supervised(tmp_path, "deaf", 2, Policy(drain=60.0)) as rig:
        await until(lambda: rig.ready)
        rig.stop.ask(signal.SIGINT)
        await until(lambda: len(rig.journal.pids("SIGTERM")) == 2)
        rig.stop.ask(signal.SIGINT)
        async with asyncio.timeout(3):
            await rig.task


async def test_a_reload_replaces_every_worker(tmp_path: Path) -> None:
    """One after the other: the next one starts when the one before serves and the old one went."""
    async with supervised(tmp_path) as rig:
        await until(lambda: rig.ready)
        before = rig.supervisor.pids
        rig.stop.reload.set()
        await until(lambda: len(rig.journal.pids("SIGUSR1")) == 2)
        await until(lambda: rig.supervisor.pids == rig.journal.pids("successor"))
        assert rig.journal.pids("SIGUSR1") == before
        assert not any(map(runs, before))
        events = [line.split()[0] for line in rig.journal.path.read_text().splitlines()]
        assert events[-6:] == ["successor", "ready", "SIGUSR1"] * 2
        assert rig.ready == 1


async def test_a_reload_has_new_settings(tmp_path: Path) -> None:
    """What replaces has them, and so has what is started after it."""
    async with supervised(tmp_path, count=1) as rig:
        await until(lambda: rig.ready)
        rig.environ = {"MODE": "deaf"}
        rig.stop.reload.set()
        await until(lambda: rig.supervisor.pids == rig.journal.pids("successor"))
        os.kill(rig.supervisor.pids[0], signal.SIGKILL)
        await until(lambda: len(rig.journal.pids("ready")) == 3)
        os.kill(rig.supervisor.pids[0], signal.SIGINT)
        await until(lambda: rig.journal.pids("SIGINT"))
        assert rig.supervisor.pids == rig.journal.pids("SIGINT"), "a deaf one goes on"
        os.kill(rig.supervisor.pids[0], signal.SIGKILL)


async def test_a_reload_that_does_not_start(tmp_path: Path) -> None:
    """A new worker that ends leaves the old ones as they are; they are restarted as before."""
    async with supervised(tmp_path) as rig:
        await until(lambda: rig.ready)
        before = rig.supervisor.pids
        rig.environ = {"MODE": "brief"}
        with capture_logs() as logs:
            rig.stop.reload.set()
            await until(lambda: any(line["event"] == "not reloaded" for line in logs))
        assert {"why": "a new worker exited with 3: see its message above"}.items() <= logs[
            -1
        ].items()
        assert rig.supervisor.pids == before
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: len(rig.journal.pids("ready")) == 3)
        assert len(rig.journal.pids("successor")) == 1


async def test_a_reload_that_is_never_ready(tmp_path: Path) -> None:
    """A new worker that does not serve in time is killed, and the old ones go on."""
    async with supervised(tmp_path, policy=Policy(drain=5.0, start=0.5)) as rig:
        await until(lambda: rig.ready)
        before = rig.supervisor.pids
        rig.environ = {"MODE": "silent"}
        rig.stop.reload.set()
        await until(lambda: rig.journal.pids("successor"))
        await until(lambda: not runs(rig.journal.pids("successor")[0]))
        await until(lambda: rig.supervisor.pids == before)
        assert rig.journal.pids("SIGUSR1") == []


async def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    """A reload that finds an error says so, and starts nothing."""
    async with supervised(tmp_path) as rig:
        await until(lambda: rig.ready)
        rig.environ = ConfigError("VERIFIER_X: no such setting")
        with capture_logs() as logs:
            rig.stop.reload.set()
            await until(lambda: logs)
        assert logs == [
            {
                "event": "not reloaded",
                "log_level": "error",
                "why": "VERIFIER_X: no such setting",
            }
        ]


async def test_a_worker_that_dies_while_it_is_replaced(tmp_path: Path) -> None:
    """Its successor takes its place as soon as it is ready; no third one is started."""
    async with supervised(tmp_path, count=1, policy=Policy(drain=5.0, start=30.0)) as rig:
        await until(lambda: rig.ready)
        rig.environ = {"MODE": "silent"}
        rig.stop.reload.set()
        await until(lambda: rig.journal.pids("successor"))
        (successor,) = rig.journal.pids("successor")
        os.kill(rig.journal.pids("ready")[0], signal.SIGKILL)
        await until(lambda: rig.supervisor.pids == [successor])
        assert len(rig.journal.pids("start")) == 1


async def test_a_stop_during_a_reload(tmp_path: Path) -> None:
    """Old and new are told once to end, and nothing is left."""
    async with supervised(tmp_path, policy=Policy(drain=5.0, start=30.0)) as rig:
        await until(lambda: rig.ready)
        before = rig.supervisor.pids
        rig.environ = {"MODE": "silent"}
        rig.stop.reload.set()
        await until(lambda: rig.journal.pids("successor"))
        rig.stop.ask(signal.SIGTERM)
        await rig.task
        told = [*before, *rig.journal.pids("successor")]
        assert sorted(rig.journal.pids("SIGTERM")) == sorted(told)


async def test_a_replaced_worker_is_not_told_twice_to_end(tmp_path: Path) -> None:
    """It drains already when the supervisor is stopped: a second signal would cut it off."""
    async with supervised(tmp_path, "deaf", 1, Policy(drain=1.0)) as rig:
        await until(lambda: rig.ready)
        (before,) = rig.supervisor.pids
        rig.stop.reload.set()
        await until(lambda: rig.journal.pids("SIGUSR1"))
        rig.stop.ask(signal.SIGTERM)
        await rig.task
        assert rig.journal.pids("SIGUSR1") == [before]
        assert before not in rig.journal.pids("SIGTERM")


async def test_a_successor_that_dies_is_restarted_at_once(tmp_path: Path) -> None:
    """While its predecessor still drains: nobody else accepts what comes."""
    async with supervised(tmp_path, "deaf", 1, Policy(drain=30.0, first_pause=0.01)) as rig:
        await until(lambda: rig.ready)
        (old,) = rig.supervisor.pids
        rig.stop.reload.set()
        await until(lambda: rig.journal.pids("SIGUSR1") == [old])
        os.kill(rig.journal.pids("successor")[0], signal.SIGKILL)
        await until(lambda: len(rig.journal.pids("ready")) == 3)
        assert runs(old)
        rig.stop.ask(signal.SIGTERM)
        await until(lambda: rig.journal.pids("SIGTERM"))
        rig.stop.ask(signal.SIGTERM)


async def test_a_reload_leaves_the_old_ones_their_time(tmp_path: Path) -> None:
    """A shorter drain is that of the new ones."""
    async with supervised(tmp_path, "deaf", 1, Policy(drain=30.0)) as rig:
        await until(lambda: rig.ready)
        (old,) = rig.supervisor.pids
        rig.policy = Policy(drain=0.0)
        rig.stop.reload.set()
        await until(lambda: rig.journal.pids("SIGUSR1") == [old])
        # Its answer comes after whatever a drain of nothing would have done.
        os.kill(old, signal.SIGINT)
        await until(lambda: rig.journal.pids("SIGINT") == [old])
        assert runs(old)
        rig.stop.ask(signal.SIGTERM)
        await until(lambda: rig.journal.pids("SIGTERM"))
        rig.stop.ask(signal.SIGTERM)


async def test_settings_that_nobody_tries(tmp_path: Path) -> None:
    """Where no worker runs, the next ones have them, and the log says so."""
    policy = Policy(drain=1.0, first_pause=60.0, longest_pause=60.0)
    async with supervised(tmp_path, "brief", 1, policy) as rig:
        await until(lambda: rig.journal.pids("start") and not rig.supervisor.pids)
        with capture_logs() as logs:
            rig.stop.reload.set()
            await until(lambda: logs and logs[-1]["event"] != "worker ended")
        # That the worker has ended may be told only now.
        told = [line["event"] for line in logs]
        assert told[-1] == "settings not tried"
        assert set(told) <= {"worker ended", "settings not tried"}


async def test_gives_up_on_workers_that_never_live(tmp_path: Path) -> None:
    """When all workers end at once again and again, the supervisor says so and ends."""
    policy = Policy(drain=1.0, tries=3, first_pause=0.01)
    async with supervised(tmp_path, "brief", 2, policy) as rig:
        with pytest.raises(WorkersError, match="3 times in a row; the last one exited with 3"):
            await rig.task
        assert len(rig.journal.pids("start")) <= 8


async def test_stop_during_a_pause(tmp_path: Path) -> None:
    """A stop does not wait for the pause before a restart."""
    policy = Policy(drain=1.0, first_pause=60.0, longest_pause=60.0)
    async with supervised(tmp_path, "brief", 1, policy) as rig:
        await until(lambda: rig.journal.pids("start") and not rig.supervisor.pids)
        rig.stop.ask(signal.SIGTERM)
        async with asyncio.timeout(2):
            await rig.task


async def test_command_that_cannot_start(tmp_path: Path) -> None:
    """A program that cannot be started counts as a worker that ends at once."""
    supervisor = Supervisor(
        [str(tmp_path / "missing")],
        [socket.socket] * 2,
        lambda: Settings({}, Policy(drain=1.0, tries=2, first_pause=0.01)),
        Gatherer(0.1),
        random=lambda: 0.0,
    )
    with pytest.raises(WorkersError, match="could not be started"):
        await supervisor.run(Stop(), lambda: None)


def test_pauses_are_bounded_by_the_policy() -> None:
    """They begin with its first and end with its longest."""
    policy = Policy(drain=1.0, first_pause=0.2, longest_pause=10.0)
    assert policy.pause(1, 0.0) == pytest.approx(0.1)
    assert policy.pause(1000, 0.5) == pytest.approx(7.5)


async def test_workers_die_with_the_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed with SIGKILL, its workers end at once."""
    script = (
        "import asyncio, os, socket, sys\n"
        "from verifier.cli import logs\n"
        "from verifier.cli.gathering import Gatherer\n"
        "from verifier.cli.signals import Stop\n"
        "from verifier.cli.supervisor import Policy, Settings, Supervisor\n"
        "logs.configure('info')\n"
        "async def main():\n"
        "    settings = Settings(dict(os.environ), Policy(drain=1.0))\n"
        "    supervisor = Supervisor(sys.argv[1:], [socket.socket] * 2, lambda: settings,\n"
        "                            Gatherer(0.1), random=lambda: 0.0)\n"
        "    await supervisor.run(Stop(), lambda: print('ready', flush=True))\n"
        "asyncio.run(main())\n"
    )
    journal = Journal(tmp_path / "journal")
    fake = [sys.executable, str(FAKE), str(journal.path), "tied"]
    parent = subprocess.Popen(  # noqa: ASYNC220 - as the shell would start it
        [sys.executable, "-c", script, *fake],
        env=os.environ | {"PYTHONPATH": str(FAKE.parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert parent.stdout
        assert await asyncio.to_thread(parent.stdout.readline) == b"ready\n"
        workers = journal.pids("ready")
        assert [runs(pid) for pid in workers] == [True, True]
    finally:
        parent.kill()
        parent.communicate()
    await until(lambda: not any(runs(pid) for pid in workers), within=2)
    assert journal.pids("SIGTERM") == []
