"""Exchange: what workers count is written to the primary, all of it in one transaction a time.

Nobody who asks waits for it. What has come together is set aside and added to the tables; when that
fails it stays aside and goes with the next attempt. After a lost connection nobody knows whether
the COMMIT happened. So each attempt has a number, which is committed with what was written, and the
next one finds there whether the last is in.

Workers write the same rows at the same time. They never wait for each other in a circle, as long as
all have the same parts in the same order, and each statement takes its rows in the order of their
keys. Nor do they for long: a transaction has seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol
from uuid import UUID

import asyncpg
import msgspec
import structlog

from verifier.backoff import backoff
from verifier.config import Databases, Ingest
from verifier.database.primary import Primary
from verifier.database.timelines import Timelines
from verifier.database.transactions import translated
from verifier.errors import Unavailable
from verifier.metrics import Metrics

log = structlog.get_logger()

# Seconds that a transaction may take, by the primary's clock too: others wait for its rows, also
# when its worker stands still.
_TRANSACTION = 5.0

# Seconds that whoever ends waits for the last exchange.
_LAST = 3.0

# Claims the number of an attempt, and tells that of the last one that was committed. It waits for
# one that is still under way at the server, whose client is gone. Whoever exchanges removes the
# rows of workers of whom nothing was heard for a day.
_CLAIM = """
WITH gone AS (
    DELETE FROM access_worker WHERE worker IN (
        SELECT worker FROM access_worker
        WHERE at < now() - interval '1 day' AND worker <> $1
        FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO access_worker AS mine (worker, seq, at) VALUES ($1, $2, now())
ON CONFLICT (worker) DO UPDATE SET seq = excluded.seq, at = excluded.at
RETURNING old.seq
"""


class Part(Protocol):
    """Something that is counted here and written there; its memory is bounded by itself."""

    def has_news(self) -> bool:
        """Whether there is anything to write, or to read."""
        ...

    def collect(self) -> None:
        """Set aside what has come together, with what an attempt that failed has left aside."""
        ...

    async def write(self, connection: asyncpg.Connection) -> None:
        """Write what is aside, and read what others wrote. Raises what the database raises."""
        ...

    def written(self) -> None:
        """What is aside was committed."""
        ...


def primary_of(config: Databases, ingest: Ingest, timelines: Timelines) -> Primary:
    """The primary as the exchange sees it: by one connection, for seconds at a time.

    ConfigError without a primary.
    """
    bounds = msgspec.structs.replace(ingest, write_connections=1, write_timeout=_TRANSACTION)
    return Primary(config, bounds, timelines=timelines)


class Exchange:
    """Exchanges what the ``parts`` have every ``interval`` seconds at most; of one event loop.

    While that fails it waits longer, up to ``longest`` seconds or twice the interval, and each time
    ``missed`` is called. ``worker`` is nobody else's; ``random`` gives numbers in [0, 1).
    """

    def __init__(
        self,
        primary: Primary,
        parts: Sequence[Part],
        missed: Callable[[], None],
        metrics: Metrics,
        worker: UUID,
        random: Callable[[], float],
        *,
        interval: float,
        longest: float,
    ) -> None:
        self._primary = primary
        self._parts = parts
        self._missed = missed
        self._outcomes = metrics.exchanges
        self._worker = worker
        self._random = random
        self._interval = interval
        self._longest = max(longest, 2 * interval)
        self._failures = 0
        # The number of the last attempt, and whether it may have been committed unheard of.
        self._attempt = 0
        self._in_doubt = False
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Exchange from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Exchange once more, within a bound, and no more. What is not in by then is lost."""
        if self._task is None:
            return
        self._over.set()
        done, _ = await asyncio.wait({self._task}, timeout=_LAST)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        if not done or self._failures or self._in_doubt:
            log.warning("what was counted last may be lost")

    async def exchange(self) -> None:
        """Exchange now, if there is anything; failures are counted and logged."""
        if not self._has_news():
            return
        try:
            async with self._primary.transaction() as transaction, asyncio.timeout(_TRANSACTION):
                with translated():
                    await self._write(transaction.connection)
                self._in_doubt = True
                await self._primary.commit(transaction)
                self._settle()
        except Unavailable as error:
            self._failed(error.reason, "")
        except TimeoutError:
            self._failed("timeout", "")
        except asyncpg.PostgresError as error:
            # As when the service may not write a table: that is for an operator to mend, and what
            # was counted until then is not lost.
            self._failed("refused", str(error))
        else:
            self._outcomes.add("written")
            if self._failures:
                log.info("exchanging again", failures=self._failures)
            self._failures = 0

    def _has_news(self) -> bool:
        return self._in_doubt or any(part.has_news() for part in self._parts)

    async def _run(self) -> None:
        # Workers that begin together do not go on so.
        pause = self._interval * self._random()
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._over.wait()
            # Of what comes together during an exchange, the next one takes care.
            is_last = self._over.is_set()
            await self.exchange()
            pause = self._pause()

    def _pause(self) -> float:
        if not self._failures:
            return self._interval
        return backoff(self._failures, 2 * self._interval, self._longest, self._random())

    async def _write(self, connection: asyncpg.Connection) -> None:
        last, number = self._attempt, self._attempt + 1
        committed = await connection.fetchval(_CLAIM, self._worker, number)
        if self._in_doubt and committed == last:
            for part in self._parts:
                part.written()
        self._in_doubt = False
        self._attempt = number
        for part in self._parts:
            part.collect()
        for part in self._parts:
            await part.write(connection)

    def _settle(self) -> None:
        self._in_doubt = False
        for part in self._parts:
            part.written()

    def _failed(self, reason: str, detail: str) -> None:
        self._missed()
        self._outcomes.add(reason)
        self._failures += 1
        if self._failures == 1:
            log.warning("counts are not exchanged", reason=reason, detail=detail)
