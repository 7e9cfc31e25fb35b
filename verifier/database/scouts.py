"""Scouts: they ask the hosts of a DSN that nobody watches at the moment for their timeline.

A DSN with several hosts is watched at one of them, as long as that answers. Another one may be
promoted meanwhile, while the first goes on as the primary that it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import random

import asyncpg

from verifier.backoff import backoff
from verifier.config import Databases
from verifier.database.connections import FAILURES, open_reader
from verifier.database.hosts import single_hosts
from verifier.database.servers import state_of
from verifier.database.timelines import Timelines


def scouted(dsns: Iterable[str]) -> list[str]:
    """The hosts that have to be scouted: those that share a DSN with another one, each once."""
    several = [hosts for hosts in map(single_hosts, dsns) if len(hosts) > 1]
    return list(dict.fromkeys(host for hosts in several for host in hosts))


class Scouts:
    """One connection to each host, which is a witness of ``timelines`` by its DSN."""

    def __init__(
        self,
        hosts: Iterable[str],
        timelines: Timelines,
        config: Databases,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._hosts = list(hosts)
        self._timelines = timelines
        self._config = config
        self._jitter = jitter
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask."""
        self._tasks = [asyncio.create_task(self._watch(host)) for host in self._hosts]

    async def close(self) -> None:
        """Stop, and drop all connections."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self, host: str) -> None:
        failures = 0
        interval = self._config.probe_interval
        connection: asyncpg.Connection | None = None
        try:
            while True:
                try:
                    if connection is None:
                        async with asyncio.timeout(self._config.connect_timeout):
                            connection = await open_reader(host, self._config)
                    async with asyncio.timeout(self._config.query_timeout):
                        state = await state_of(connection)
                except FAILURES:
                    # That a host is away is for those to say who need it.
                    failures += 1
                    if connection is not None:
                        connection.terminate()
                        connection = None
                else:
                    failures = 0
                    self._timelines.noticed(state.cluster, state.timeline)
                self._timelines.witness(host)
                pause = interval
                if failures:
                    pause = backoff(
                        failures, interval, self._config.reconnect_pause, self._jitter()
                    )
                await asyncio.sleep(pause)
        finally:
            if connection is not None:
                connection.terminate()


async def survey(dsns: Iterable[str], timelines: Timelines, config: Databases) -> None:
    """Ask all hosts of some DSNs once for their timelines, for those that watch no databases."""

    async def ask(host: str) -> None:
        with suppress(*FAILURES):
            async with asyncio.timeout(config.connect_timeout):
                connection = await open_reader(host, config)
                try:
                    state = await state_of(connection)
                finally:
                    connection.terminate()
                timelines.noticed(state.cluster, state.timeline)

    hosts = dict.fromkeys(host for dsn in dsns for host in single_hosts(dsn))
    await asyncio.gather(*map(ask, hosts))
