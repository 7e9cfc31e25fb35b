"""Verifier: one question or many, from memory where it can, through the loader where it must.

Every item takes three steps: recall (memory, without parsing when it can be avoided), one load
for all that memory lacks, and a verdict. Nothing awaits after the load. This is the only module
that touches the cache.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from verifier.engine.cache import Cache
from verifier.engine.loader import UNCHECKED, FetchMany, Loaded, Loader
from verifier.errors import Unavailable
from verifier.invoice.claim import (
    Claim,
    Invalid,
    Question,
    is_canonical,
    parse,
    raw_key,
    reference_of,
)
from verifier.invoice.hints import Hint
from verifier.invoice.record import Finding
from verifier.invoice.verdict import (
    Answer,
    Window,
    agrees,
    complete_until,
    invalid,
    judge,
    window_at,
)
from verifier.metrics import Metrics

# A question as decoded; as a mapping when it does not fit the structure (the parser says why, or
# takes a JSON number); already Invalid when it is no JSON object at all.
Item = Question | Mapping[str, Any] | Invalid

_STALE = Unavailable("stale")


# Bulk gives way to other work after this many items: about a quarter of a millisecond.
_ITEMS_PER_TURN = 256


class _Open(msgspec.Struct, frozen=True, gc=False):
    """An item that memory could not answer; ``claim`` is None while it has not been parsed."""

    item: Question | Mapping[str, Any]
    key: str
    claim: Claim | None


class Bounds(msgspec.Struct, frozen=True):
    """How long memory may be believed, in seconds."""

    max_staleness: float
    absence_seconds: float


class Verifier:
    """Answers questions; one per event loop.

    ``clock`` gives seconds since the epoch, is never set back, and is the clock of
    ``Reading.as_of``. ``fetch_primary`` reads past memory and replicas.
    """

    def __init__(
        self,
        loader: Loader,
        fetch_primary: FetchMany,
        *,
        cache: Cache[Finding],
        absences: Cache[Finding],
        bounds: Bounds,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._loader = loader
        self._fetch_primary = fetch_primary
        self._cache = cache
        self._absences = absences
        self._bounds = bounds
        # Whatever the settings say, no memory outlives the staleness bound.
        self._absence_seconds = min(bounds.absence_seconds, bounds.max_staleness)
        self._clock = clock
        self._window = window_at(clock())
        self._hits = metrics.cache_lookups.cell("hit")
        self._misses = metrics.cache_lookups.cell("miss")

    async def verify(self, item: Item, *, fresh: bool = False) -> Answer:
        """The answer to one question; ``fresh`` asks the primary whatever memory says."""
        started = self._clock()
        recalled = self._recall(item, started, fresh)
        if isinstance(recalled, Answer):
            return recalled
        loaded = await self._load((recalled.key,), bulk=False, fresh=fresh)
        return self._conclude(recalled, loaded, started)

    async def verify_many(
        self,
        items: Sequence[Item],
        *,
        fresh: bool = False,
        seen: dict[str, int] | None = None,
        offset: int = 0,
    ) -> list[Answer]:
        """The answers to many questions, in their order.

        ``seen`` maps the keys of a request to the index at which each came first; it is read and
        filled, and repeated invoices get a hint. ``offset`` is the index of the first item.
        """
        started = self._clock()
        answers: list[Any] = []
        for turn in range(0, len(items), _ITEMS_PER_TURN):
            if turn:
                await sleep(0)
            recall = self._recall
            answers += [
                recall(item, started, fresh) for item in items[turn : turn + _ITEMS_PER_TURN]
            ]
        opened = [index for index, answer in enumerate(answers) if type(answer) is _Open]
        if opened:
            keys = dict.fromkeys(answers[index].key for index in opened)
            loaded = await self._load(keys, bulk=True, fresh=fresh)
            for turn in range(0, len(opened), _ITEMS_PER_TURN):
                if turn:
                    await sleep(0)
                for index in opened[turn : turn + _ITEMS_PER_TURN]:
                    answers[index] = self._conclude(answers[index], loaded, started)
        if seen is not None:
            _mark_duplicates(answers, seen, offset)
        return answers

    def _recall(self, item: Item, started: float, fresh: bool) -> Answer | _Open:
        """The answer from memory, or what has to be loaded for it."""
        if started >= self._window.until:
            self._window = window_at(started)
        if isinstance(item, Question):
            key = raw_key(item)
            if key is not None:
                finding = None if fresh else self._cached(key, started)
                if finding is None:
                    if is_canonical(key):
                        return _Open(item, key, None)
                elif finding.record is not None and agrees(item, finding.record, self._window):
                    return _match(item, key, finding, "cache")
            claim = self._parse(msgspec.structs.asdict(item))
        elif isinstance(item, Invalid):
            return invalid(item)
        else:
            claim = self._parse(item)
        if isinstance(claim, Answer):
            return claim
        finding = None if fresh else self._cached(claim.key, started)
        if finding is not None:
            return _judge(claim, finding, "cache")
        return _Open(item, claim.key, claim)

    def _parse(self, given: Mapping[str, Any]) -> Claim | Answer:
        parsed = parse(given, self._window.oldest, self._window.today)
        if isinstance(parsed, Claim):
            return parsed
        answer = invalid(parsed)
        answer.reference = reference_of(given)
        return answer

    def _cached(self, key: str, started: float) -> Finding | None:
        """What memory holds of a key and may still be believed at ``started``."""
        finding = self._cache.get(key)
        if finding is not None and started - finding.reading.as_of <= self._bounds.max_staleness:
            self._hits.count += 1
            return finding
        finding = self._absences.get(key)
        if finding is not None and started - finding.reading.as_of <= self._absence_seconds:
            self._hits.count += 1
            return finding
        self._misses.count += 1
        return None

    async def _load(self, keys: Collection[str], *, bulk: bool, fresh: bool) -> Loaded:
        if fresh:
            try:
                found = await self._fetch_primary(sorted(keys))
            except Unavailable as error:
                return Loaded(dict.fromkeys(keys, error), set())
            return Loaded({key: found.get(key, UNCHECKED) for key in keys}, set())
        loaded = await self._loader.load(keys, bulk=bulk)
        for key, outcome in loaded.outcomes.items():
            if isinstance(outcome, Finding) and key not in loaded.joined:
                (self._absences if outcome.record is None else self._cache).put(key, outcome)
        return loaded

    def _conclude(self, opened: _Open, loaded: Loaded, started: float) -> Answer:
        """The answer from what was loaded for an item."""
        item, key, claim = opened.item, opened.key, opened.claim
        outcome = loaded.outcomes[key]
        if (
            isinstance(outcome, Finding)
            and started - outcome.reading.as_of > self._bounds.max_staleness
        ):
            outcome = _STALE
        if claim is None:
            assert isinstance(item, Question)
            if isinstance(outcome, Finding):
                record = outcome.record
                if record is not None and agrees(item, record, self._window):
                    source = "joined" if key in loaded.joined else outcome.reading.source
                    return _match(item, key, outcome, source)
            parsed = self._parse(msgspec.structs.asdict(item))
            if isinstance(parsed, Answer):
                return parsed
            claim = parsed
        if isinstance(outcome, Unavailable):
            return Answer(
                "unavailable",
                claim.key,
                claim.reference,
                hints=claim.hints,
                reason=outcome.reason,
                retry_after=outcome.retry_after,
            )
        return _judge(
            claim, outcome, "joined" if key in loaded.joined else outcome.reading.source
        )


def _match(question: Question, key: str, finding: Finding, source: str) -> Answer:
    return Answer(
        "match",
        key,
        question.reference,
        record=finding.record,
        reading=finding.reading,
        source=source,
    )


def _judge(claim: Claim, finding: Finding, source: str) -> Answer:
    reading = finding.reading
    # A region without a watermark is complete until a day before the *reading*, which is what
    # found nothing.
    watermark = complete_until(reading.watermarks.get(claim.region), reading.as_of)
    answer = judge(claim, finding.record, watermark)
    answer.reading = reading
    answer.source = source
    return answer


def _mark_duplicates(answers: list[Answer], seen: dict[str, int], offset: int) -> None:
    for index, answer in enumerate(answers, offset):
        if answer.key:
            first = seen.setdefault(answer.key, index)
            if first != index:
                answer.hints += (Hint("duplicate_in_request", "number", first),)
