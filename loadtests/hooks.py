"""What a run does to the service while it is under load: a failover of its own, or your command."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread
from time import monotonic
from types import MappingProxyType

import asyncpg

from loadtests.result import Event
from loadtests.scenario import Hook
from loadtests.target import Target

# A hook that takes longer than this is given up, and fails the run.
_PATIENCE = 120.0


class HookFailed(Exception):
    """What a run was to do to the service did not work; the message says what."""


def failover(target: Target) -> None:
    """Kill the primary of the embedded cluster, and promote its first replica."""
    cluster = target.cluster
    if cluster is None:
        raise HookFailed(
            "failover: the databases of a service that is given by --host are not ours; say how "
            "with --hook failover=COMMAND"
        )
    cluster.primary.kill(signal.SIGKILL)

    async def promote() -> None:
        connection = await asyncpg.connect(cluster.replicas[0].dsn, timeout=10.0)
        try:
            if not await connection.fetchval("SELECT pg_promote(true, 60)", timeout=70.0):
                raise HookFailed("failover: the replica was not promoted within a minute")
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        runner.run(promote())


HOOKS: Mapping[str, Callable[[Target], None]] = MappingProxyType({"failover": failover})


def _command(name: str, command: str) -> Callable[[Target], None]:
    def call(target: Target) -> None:
        environ = {**os.environ, "LOADTESTS_HOST": f"http://{target.host}"}
        try:
            done = subprocess.run(command, shell=True, env=environ, timeout=_PATIENCE, check=False)
        except subprocess.TimeoutExpired as error:
            raise HookFailed(f"{name}: {command!r} took longer than {_PATIENCE:.0f} s") from error
        if done.returncode:
            raise HookFailed(f"{name}: {command!r} ended with {done.returncode}")

    return call


class Hooks:
    """Carries out hooks in threads of their own; ``events`` are those that have begun."""

    def __init__(
        self, hooks: Sequence[Hook], commands: Mapping[str, str], target: Target, origin: float
    ) -> None:
        self.events: list[Event] = []
        self.failed: list[str] = []
        self._target = target
        self._origin = origin
        self._ended = Flag()
        self._threads = [
            Thread(target=self._carry_out, args=(hook, commands.get(hook.name)), daemon=True)
            for hook in hooks
        ]

    def _carry_out(self, hook: Hook, command: str | None) -> None:
        if self._ended.wait(max(0.0, self._origin + hook.at - monotonic())):
            return
        call = HOOKS[hook.name] if command is None else _command(hook.name, command)
        event = Event(hook.name, monotonic() - self._origin, 0.0, hook.name)
        self.events.append(event)
        try:
            call(self._target)
        except (HookFailed, OSError, asyncpg.PostgresError, TimeoutError) as error:
            self.failed.append(str(error) or type(error).__name__)
        finally:
            event.end = monotonic() - self._origin

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """While the load is sent. Those that are due by its end are awaited."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join(_PATIENCE)
