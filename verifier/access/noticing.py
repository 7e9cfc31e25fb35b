"""Noticing: keys that ask as guessers do (enumeration.py) are held back, at every worker.

Whoever is suspected may ask on, but slowly: five questions a second are plenty for people, and a
guesser gets nowhere with them. So an honest caller that is wrongly suspected loses nothing but
speed, and that for minutes; who is suspected again within a day, for longer.
Workers hear of it as of any change to a key (following.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import asyncpg
import structlog

from verifier.access.callers import Caller
from verifier.access.enumeration import Suspicion
from verifier.invoice.verdict import Judgement
from verifier.metrics import Metrics

log = structlog.get_logger()

# Units a second for who is held back, and minutes: the first time, and at most.
TIGHT_RATE = 5.0
FIRST, LONGEST = 5, 60

# Once for one that is not held back yet; each time within a day for twice as long.
_HOLD_BACK = """
WITH held AS (
    UPDATE access_key AS k
    SET
        tight_rate = $2,
        tight_until = clock_timestamp() + interval '1 minute' * least(
            $6::int,
            $5::int * 2 ^ least(10, (
                SELECT count(*) FROM access_event AS e
                WHERE e.key = k.id AND e.at > clock_timestamp() - interval '1 day'
            ))
        )
    WHERE id = $1 AND (tight_until IS NULL OR tight_until < clock_timestamp())
    RETURNING id
)
INSERT INTO access_event (key, kind, detail) SELECT id, $3, $4 FROM held
"""

_FORGET = "DELETE FROM access_event WHERE at < clock_timestamp() - interval '90 days'"


class Noticing:
    """What one worker notices of its callers; a part of the exchange. ``clock`` is the steady one.

    Bounded by the keys: about 7 KiB for each whose questions did not all match.
    """

    def __init__(self, clock: Callable[[], float], metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._fresh: dict[Caller, Suspicion] = {}
        self._aside: dict[Caller, Suspicion] = {}

    def missed(self, caller: Caller, matched: int, others: Iterable[Judgement]) -> None:
        """A caller got so many matches together with other answers."""
        absent, differing = [], []
        for answer in others:
            if answer.said:
                differing.append((answer.key, answer.said))
            # Who may not know which of the two it is must not tell it by being held back.
            if answer.verdict == "not_found" and not (answer.said and caller.explains):
                absent.append(answer.key)
        trail = caller.trail
        if not (absent or differing):
            trail.asked += matched
            return
        now = self._clock()
        asked = matched + max(len(absent), len(differing))
        if caller.explains:
            asked = matched + len(absent) + len(differing)
        trail.missed(asked, absent, differing, now)
        suspicion = trail.suspect(now)
        if suspicion is not None and not caller.is_tight and caller not in self._aside:
            self._suspect(caller, suspicion)

    def has_news(self) -> bool:
        """Whether anybody is to be held back."""
        return bool(self._fresh or self._aside)

    def collect(self) -> None:
        """Set aside who is to be held back."""
        self._aside |= self._fresh
        self._fresh = {}

    async def write(self, connection: asyncpg.Connection) -> None:
        """Hold them back. Raises what the database raises."""
        for caller, suspicion in sorted(self._aside.items(), key=lambda each: each[0].id):
            detail = (
                f"{suspicion.counted} of {suspicion.asked} questions in 5 s; so were "
                f"{suspicion.stretches} of the last 12 such stretches"
            )
            await connection.execute(
                _HOLD_BACK, caller.id, TIGHT_RATE, suspicion.kind, detail, FIRST, LONGEST
            )
        if self._aside:
            await connection.execute(_FORGET)

    def written(self) -> None:
        """They are held back."""
        self._aside = {}

    def _suspect(self, caller: Caller, suspicion: Suspicion) -> None:
        if caller not in self._fresh:
            self._metrics.suspicions.add(suspicion.kind)
            log.warning(
                "a key asks as guessers do",
                key=caller.label,
                tenant=caller.tenant.name,
                kind=suspicion.kind,
                counted=suspicion.counted,
                asked=suspicion.asked,
            )
        self._fresh[caller] = suspicion
