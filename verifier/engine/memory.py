"""Memory: which findings are kept, how the change log evicts them, and when they are believed.

Each database's change log is followed on that database. A finding is believed as of the newest
reading of the database that it came from: the log has been applied up to there, so what it has not
evicted is what the database shows. A log evicts its keys whatever database they came from. That is
harmless, and if a replica that lags behind brings an old finding back, its own log evicts that when
it gets there.

A read that began before a change was applied may arrive afterwards with the old state. So each key
of a change leaves a tombstone for as long as a read may take, and a finding whose reading is older
than its key's tombstone is not kept.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Callable, Mapping, Sequence

import msgspec

from verifier.engine.cache import Cache
from verifier.engine.doorkeeper import Doorkeeper
from verifier.engine.freshness import Terms
from verifier.engine.loader import FetchMany
from verifier.metrics import Metrics
from verifier.state import Live, Reading
from verifier.wire.records import Absence, Finding, Record

# A long import changes many keys. They are evicted in pieces of about a third of a millisecond,
# between which other work goes on.
_KEYS_PER_PIECE = 1_000


class Sizes(msgspec.Struct, frozen=True):
    """How many entries are kept, how long an absence is believed, and how long a read may take.

    Times are in seconds.
    """

    cache_entries: int
    absence_entries: int
    absence_seconds: float
    longest_read: float


class Memory:
    """What is known of invoices; one per event loop.

    ``clock`` is the steady one, that of ``Reading.as_of``.
    """

    def __init__(self, sizes: Sizes, clock: Callable[[], float], metrics: Metrics) -> None:
        self._known: Cache[Record] = Cache(sizes.cache_entries)
        self._doorkeeper = Doorkeeper(sizes.cache_entries)
        self._absent: Cache[Absence] = Cache(sizes.absence_entries)
        self._sizes = sizes
        self._clock = clock
        # How many times changes were applied. A reading says how many of them it includes.
        self._applied = 0
        # When everything may last have changed, on that scale.
        self._everything = 0
        # Tombstones: when each key last changed, on the same scale. A generation of them goes after
        # it has been the older one for longest_read.
        self._tombstones: dict[str, int] = {}
        self._older_tombstones: dict[str, int] = {}
        self._rotated = clock()
        self._hits = metrics.cache_lookups.cell("hit")
        self._misses = metrics.cache_lookups.cell("miss")
        self._dropped = metrics.changes.cell("dropped")
        self._heard = metrics.changes.cell("heard")
        self._refused = metrics.changes.cell("refill_refused")
        metrics.cache_entries.labels("invoice").set_function(lambda: len(self._known))
        metrics.cache_entries.labels("absence").set_function(lambda: len(self._absent))

    def recall_one(self, key: str, terms: Terms) -> tuple[Finding | None, Reading | None]:
        """The same as ``recall`` of one key, at half its cost."""
        record = self._known.get(key)
        if record is not None:
            current = record.reading.current
            if current is not None and terms.allow(current):
                self._hits.count += 1
                return record, current
        absence = self._absent.get(key)
        if absence is not None and self._still_absent(absence, terms):
            self._hits.count += 1
            return absence, None
        self._misses.count += 1
        return None, None

    def recall(
        self, keys: Sequence[str], terms: Terms
    ) -> tuple[list[Record | None], Mapping[int, Absence], Reading | None]:
        """The record of each key, or None where none may be believed on these terms.

        With them, by the index of their keys, the absences that may be believed; and a reading as
        of which all the records hold, or None if there are none. An empty text is no key.
        """
        known = self._known.get_many(keys)
        held: Reading | None = None
        # Neighbours mostly came from one database, whose newest reading is looked at once.
        live: Live | None = None
        believed = False
        unknown: list[int] = []
        unasked = 0
        for index, record in enumerate(known):
            if record is not None:
                reading = record.reading
                if live is None or reading.live is not live:
                    live = reading.live
                    current = reading if live is None else live.reading
                    believed = False
                    if current is not None and terms.allow(current):
                        believed = True
                        if held is None or current.as_of < held.as_of:
                            held = current
                if believed:
                    continue
                known[index] = None
            if keys[index]:
                unknown.append(index)
            else:
                unasked += 1
        absences: dict[int, Absence] = {}
        if unknown and self._absent:
            absent = self._absent.get_many([keys[index] for index in unknown])
            absences = {
                index: absence
                for index, absence in zip(unknown, absent, strict=True)
                if absence is not None and self._still_absent(absence, terms)
            }
        misses = len(unknown) - len(absences)
        self._misses.count += misses
        self._hits.count += len(known) - unasked - misses
        return known, absences, held

    def _still_absent(self, absence: Absence, terms: Terms) -> bool:
        reading = absence.reading
        current = reading.current
        # It is judged by the watermark of its own reading, however new the current one is.
        return (
            reading.is_fresh(terms.started - self._sizes.absence_seconds)
            and terms.allow(reading)
            and current is not None
            and terms.allow(current)
        )

    def kept(self, key: str) -> Record | None:
        """The record of an invoice, whether or not it may still be believed."""
        return self._known.get(key)

    def remember(self, found: Mapping[str, Finding], began: float) -> None:
        """Keep the findings of a read; call it as soon as the read returns.

        ``began`` is when it began. Once the cache evicts, a record is kept only if it was read
        before, and lately.
        """
        if self._clock() - began > self._sizes.longest_read:
            # Tombstones of changes since it began may be gone.
            self._refused.count += len(found)
            return
        applied = self._applied
        known: dict[str, Record] = {}
        for key, finding in found.items():
            # Mostly nothing at all has changed since the reading.
            if finding.reading.applied != applied and not self._may_keep(key, finding):
                self._refused.count += 1
            elif isinstance(finding, Record):
                known[key] = finding
            else:
                self._absent.put(key, finding)
        if self._known.evicts:
            again = self._doorkeeper.again(known) | self._known.among(known)
            known = {key: known[key] for key in again}
        self._known.put_many(known)

    def keeping(self, fetch_many: FetchMany) -> FetchMany:
        """The same read, of which memory keeps what it may."""

        async def fetch(keys: Sequence[str], deadline: float) -> Mapping[str, Finding]:
            began = self._clock()
            found = await fetch_many(keys, deadline)
            self.remember(found, began)
            return found

        return fetch

    def _may_keep(self, key: str, finding: Finding) -> bool:
        """The refill guard: whether nothing has changed the key since the finding's reading."""
        seen = finding.reading.applied
        changed = self._tombstones.get(key)
        if changed is None:
            changed = self._older_tombstones.get(key, 0)
        return changed <= seen and self._everything <= seen

    async def apply(self, keys: Sequence[str], *, everything: bool) -> None:
        """Evict what has changed. A reading that includes the change is published only after."""
        if not keys and not everything:
            return
        self._rotate_tombstones()
        if everything:
            self._applied += 1
            self._everything = self._applied
            self._known.clear()
            self._absent.clear()
        self._heard.count += len(keys)
        for start in range(0, len(keys), _KEYS_PER_PIECE):
            if start:
                await sleep(0)
            # Each piece has a number of its own: between two of them another log may have told of
            # the same key, and a tombstone's number must never go back.
            self._applied = now = self._applied + 1
            for key in keys[start : start + _KEYS_PER_PIECE]:
                self._tombstones[key] = now
                self._dropped.count += self._known.discard(key) + self._absent.discard(key)

    @property
    def applied(self) -> int:
        """How many times changes were applied; a reading published now comes after these."""
        return self._applied

    def _rotate_tombstones(self) -> None:
        now = self._clock()
        if now - self._rotated > self._sizes.longest_read:
            self._rotated = now
            self._older_tombstones = self._tombstones
            self._tombstones = {}
