"""Access: who may ask and how much, in one process. Without keys nobody is told from anybody."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import random
from uuid import uuid4

from verifier.access.attempts import MOST, Attempts
from verifier.access.exchange import Exchange, primary_of
from verifier.access.following import Following
from verifier.access.keyring import Keyring
from verifier.access.keys import peppers_of
from verifier.access.limits import Shares
from verifier.access.noticing import Noticing
from verifier.access.reports import Reports
from verifier.access.usage import Usage
from verifier.clocks import Clocks
from verifier.config import Config
from verifier.database.primary import Primary
from verifier.database.timelines import Timelines
from verifier.metrics import Metrics

# Seconds that a start waits for the first exchange: until then a worker knows of no other one.
_FIRST = 1.0


class Access:
    """The keyring, and what is exchanged with the primary. ConfigError without a pepper.

    ``keyring`` is None when nobody needs a key; then nothing is exchanged, and there are no
    ``reports``.
    """

    def __init__(self, config: Config, clocks: Clocks, metrics: Metrics) -> None:
        self._config = config
        access = config.access
        self._worker = uuid4()
        self.usage = Usage(clocks.wall)
        self.keyring: Keyring | None = None
        self.reports: Reports | None = None
        self._metrics = metrics
        self.noticing = Noticing(clocks.steady, metrics)
        self._attempts = Attempts(access.failed_attempts, MOST, clocks.wall)
        self._shares = Shares(self._worker, clocks.steady)
        self._tables: Primary | None = None
        self._exchange: Exchange | None = None
        if access.auth == "on":
            self.keyring = Keyring(
                peppers_of(access.key_peppers),
                clocks,
                self._shares,
                bound=config.staleness.max_staleness,
                kept=access.keys_kept,
            )

    def exchange_with(self, timelines: Timelines) -> None:
        """Have the primary that the watch knows be the one to exchange with, from the start on."""
        if self.keyring is None:
            return
        config = self._config
        self._tables = primary_of(config.databases, config.ingest, timelines)
        self.reports = Reports(self._tables)
        self._exchange = Exchange(
            self._tables,
            (self.usage, self._attempts, self._shares, self.noticing),
            self._shares.missed,
            self._metrics,
            self._worker,
            random,
            interval=config.access.exchange_interval,
            longest=config.databases.reconnect_pause,
        )

    def beside(self) -> Following | None:
        """What follows the keys on one more database."""
        if self.keyring is None:
            return None
        return Following(self.keyring, self._config.databases.query_timeout)

    def tried(self, key: str) -> bool:
        """An invoice was asked about in vain; whether that has happened too often today."""
        if self.keyring is None:
            return False
        if self._attempts.spent(key):
            return True
        self._attempts.failed(key)
        return False

    async def start(self) -> None:
        """Exchange from now on; the first time is over, or a bound."""
        if self._exchange is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST):
                await self._exchange.exchange()
        self._exchange.start()

    async def close(self) -> None:
        """Exchange once more, within a bound, and drop the connection."""
        if self._exchange is not None:
            await self._exchange.close()
        if self._tables is not None:
            await self._tables.close()
