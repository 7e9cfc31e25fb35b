"""Verifier: one question or many, from memory where it can, through the loader where it must.

Every item takes three steps: recall (memory, without parsing when it can be avoided), one load
for all that memory lacks, and a verdict. Nothing awaits after the load, but for giving way.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from verifier.engine.freshness import Freshness
from verifier.engine.loader import UNCHECKED, Loaded, Loader, Outcome
from verifier.engine.memory import Memory
from verifier.errors import Unavailable
from verifier.invoice.claim import Claim, Invalid, Question, is_canonical, raw_key, reference_of
from verifier.invoice.hints import Hint
from verifier.invoice.parsing import parse
from verifier.invoice.record import Finding, Position, Reading
from verifier.invoice.verdict import (
    Answer,
    agrees,
    complete_until,
    invalid,
    judge,
    window_at,
)

# A question as decoded; as a mapping when it does not fit the structure (the parser says why, or
# takes a JSON number); already Invalid when it is no JSON object at all.
Item = Question | Mapping[str, Any] | Invalid

# Reads keys from a state that includes a position.
FetchAt = Callable[[Sequence[str], Position], Awaitable[Mapping[str, Finding]]]

_STALE = Unavailable("stale")


# Bulk gives way to other work after this many items: about a quarter of a millisecond.
_ITEMS_PER_TURN = 256


class _Open(msgspec.Struct, frozen=True, gc=False):
    """An item that memory could not answer; ``claim`` is None while it has not been parsed."""

    item: Question | Mapping[str, Any]
    key: str
    claim: Claim | None


class Verifier:
    """Answers questions; one per event loop.

    ``clock`` gives seconds since the epoch, is never set back, and is the clock of
    ``Reading.as_of``. ``fetch_at`` reads a state that includes a position, past the loader.
    """

    def __init__(
        self,
        loader: Loader,
        fetch_at: FetchAt,
        memory: Memory,
        freshness: Freshness,
        clock: Callable[[], float],
    ) -> None:
        self._loader = loader
        self._fetch_at = fetch_at
        self._memory = memory
        self._freshness = freshness
        self._clock = clock
        self._window = window_at(clock())

    def _begin(self) -> float:
        """The moment at which a request starts; with it the days that are in scope."""
        started = self._clock()
        if started >= self._window.until:
            self._window = window_at(started)
        return started

    async def verify(self, item: Item, *, at_least: Position | None = None) -> Answer:
        """The answer to one question; with ``at_least`` it rests on a state that includes it."""
        started = self._begin()
        oldest = self._freshness.oldest(started)
        recalled = self._recall(item, started, oldest, at_least)
        if isinstance(recalled, Answer):
            return recalled
        key = recalled.key
        if at_least is None:
            outcome, joined = await self._loader.load_one(key)
        else:
            outcome, joined = (await self._fetch((key,), at_least)).outcomes[key], False
        return self._conclude(recalled, outcome, joined, started, at_least)

    async def verify_many(
        self,
        items: Sequence[Item],
        *,
        at_least: Position | None = None,
        seen: dict[str, int] | None = None,
        offset: int = 0,
    ) -> list[Answer]:
        """The answers to many questions, in their order.

        ``seen`` maps the keys of a request to the index at which each came first; it is read and
        filled, and repeated invoices get a hint. ``offset`` is the index of the first item.
        """
        started = self._begin()
        oldest = self._freshness.oldest(started)
        answers: list[Any] = []
        for turn in range(0, len(items), _ITEMS_PER_TURN):
            if turn:
                await sleep(0)
            recall = self._recall
            answers += [
                recall(item, started, oldest, at_least)
                for item in items[turn : turn + _ITEMS_PER_TURN]
            ]
        opened = [index for index, answer in enumerate(answers) if type(answer) is _Open]
        if opened:
            keys = dict.fromkeys(answers[index].key for index in opened)
            if at_least is None:
                loaded = await self._loader.load(keys, bulk=True)
            else:
                loaded = await self._fetch(keys, at_least)
            for turn in range(0, len(opened), _ITEMS_PER_TURN):
                if turn:
                    await sleep(0)
                for index in opened[turn : turn + _ITEMS_PER_TURN]:
                    key = answers[index].key
                    answers[index] = self._conclude(
                        answers[index],
                        loaded.outcomes[key],
                        key in loaded.joined,
                        started,
                        at_least,
                    )
        if seen is not None:
            _mark_duplicates(answers, seen, offset)
        return answers

    def _recall(
        self, item: Item, started: float, oldest: float, at_least: Position | None
    ) -> Answer | _Open:
        """The answer from memory, or what has to be loaded for it."""
        if isinstance(item, Question):
            key = raw_key(item)
            if key is not None:
                finding = self._memory.recall(key, started, oldest)
                if finding is None or (at_least and not _shows(finding, at_least)):
                    if is_canonical(key):
                        return _Open(item, key, None)
                elif finding.record is not None and agrees(item, finding.record, self._window):
                    return _match(item, key, finding, finding.reading.current, "cache")
            claim = self._parse(msgspec.structs.asdict(item))
        elif isinstance(item, Invalid):
            return invalid(item)
        else:
            claim = self._parse(item)
        if isinstance(claim, Answer):
            return claim
        finding = self._memory.recall(claim.key, started, oldest)
        if finding is None or (at_least and not _shows(finding, at_least)):
            return _Open(item, claim.key, claim)
        return _judge(claim, finding, _holding(finding), "cache")

    def _parse(self, given: Mapping[str, Any]) -> Claim | Answer:
        parsed = parse(given, self._window.oldest, self._window.today)
        if isinstance(parsed, Claim):
            return parsed
        answer = invalid(parsed)
        answer.reference = reference_of(given)
        return answer

    async def _fetch(self, keys: Collection[str], at_least: Position) -> Loaded:
        """A state that includes a position, past the loader."""
        try:
            found = await self._fetch_at(sorted(keys), at_least)
        except Unavailable as error:
            return Loaded(dict.fromkeys(keys, error), set())
        return Loaded({key: found.get(key, UNCHECKED) for key in keys}, set())

    def _conclude(
        self,
        opened: _Open,
        outcome: Outcome,
        joined: bool,
        started: float,
        at_least: Position | None,
    ) -> Answer:
        """The answer from what was loaded for an item, perhaps on behalf of another caller."""
        item, key, claim = opened.item, opened.key, opened.claim
        if isinstance(outcome, Finding) and outcome.reading.as_of < self._freshness.oldest(started):
            outcome = _STALE
        source = "joined" if joined else ""
        if claim is None:
            assert isinstance(item, Question)
            if isinstance(outcome, Finding):
                record = outcome.record
                if record is not None and agrees(item, record, self._window):
                    return _match(item, key, outcome, outcome.reading, source)
            parsed = self._parse(msgspec.structs.asdict(item))
            if isinstance(parsed, Answer):
                return parsed
            claim = parsed
        if isinstance(outcome, Finding):
            # The change of a key may have been applied since this read of it.
            return _judge(claim, outcome, outcome.reading, source)
        return self._without_ledger(claim, outcome, started, at_least)

    def _without_ledger(
        self, claim: Claim, error: Unavailable, started: float, at_least: Position | None
    ) -> Answer:
        """What can be said when the ledger could not be read."""
        # A token allows no older state, whatever else is allowed.
        kept = None if at_least else self._memory.kept(claim.key)
        if kept is not None and self._freshness.tolerates(kept, started):
            answer = _judge(claim, kept, _holding(kept), "cache")
            answer.stale = True
            return answer
        return Answer(
            "unavailable",
            claim.key,
            claim.reference,
            hints=claim.hints,
            reason=error.reason,
            retry_after=error.retry_after,
        )


def _shows(finding: Finding, position: Position) -> bool:
    current = finding.reading.current
    return current is not None and current.shows(position)


def _match(
    question: Question, key: str, finding: Finding, reading: Reading | None, source: str
) -> Answer:
    """A match as of a reading; its source unless another one is given."""
    assert reading is not None
    return Answer(
        "match",
        key,
        question.reference,
        record=finding.record,
        reading=reading,
        source=source or reading.source,
    )


def _holding(finding: Finding) -> Reading:
    """The reading that a remembered finding holds for."""
    # A record holds as of now; that there was none is as old as the reading, and so must be the
    # watermark that it is held against.
    reading = finding.reading
    return reading if finding.record is None else reading.current or reading


def _judge(claim: Claim, finding: Finding, reading: Reading, source: str) -> Answer:
    watermark = complete_until(reading.watermarks.get(claim.region), reading.as_of)
    answer = judge(claim, finding.record, watermark)
    answer.reading = reading
    answer.source = source or reading.source
    return answer


def _mark_duplicates(answers: list[Answer], seen: dict[str, int], offset: int) -> None:
    for index, answer in enumerate(answers, offset):
        if answer.key:
            first = seen.setdefault(answer.key, index)
            if first != index:
                answer.hints += (Hint("duplicate_in_request", "number", first),)
