"""Verifier: one question or many, from memory where it can, through the loader where it must.

Every item takes three steps: recall (memory, without parsing when it can be avoided), one load
for all that memory lacks, and a verdict. Nothing awaits after the load, but for giving way.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from typing import Any

import msgspec

from verifier.engine.duplicates import Duplicates
from verifier.engine.freshness import Freshness
from verifier.engine.loader import UNCHECKED, Loaded, Loader, Outcome
from verifier.engine.memory import Memory
from verifier.errors import Unavailable
from verifier.invoice.claim import Claim, Invalid, Question, is_canonical, raw_keys, reference_of
from verifier.invoice.parsing import parse
from verifier.invoice.record import Finding, Position, Reading
from verifier.invoice.verdict import (
    Answer,
    Match,
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


# What is answered from memory at a time: well under a tenth of a millisecond, and about 64 KiB of
# JSON, which its records' part of is still in the processor's cache then.
ITEMS_PER_BLOCK = 125

# What a request loads at a time: enough for several full queries, and a bound on what it has in
# the loader's queue.
ITEMS_PER_LOAD = 1_000

# Bulk gives way to other work after so many items that have to be parsed.
_PARSED_PER_TURN = 25


class _Open(msgspec.Struct, frozen=True, gc=False):
    """An item that memory could not answer; ``claim`` is None while it has not been parsed."""

    item: Question | Mapping[str, Any]
    key: str
    claim: Claim | None


class Block(msgspec.Struct, frozen=True, gc=False):
    """Some answers in the order of their items; ``recalled``: all are matches from memory."""

    answers: list[Answer | Match]
    recalled: bool


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

    async def verify(self, item: Item, *, at_least: Position | None = None) -> Answer | Match:
        """The answer to one question; with ``at_least`` it rests on a state that includes it."""
        started = self._begin()
        oldest = self._freshness.oldest(started)
        (recalled,), _ = self._recall((item,), raw_keys((item,)), started, oldest, at_least)
        one = recalled or self._look_closer(item, started, oldest, at_least)
        if not isinstance(one, _Open):
            return one
        key = one.key
        if at_least is None:
            outcome, joined = await self._loader.load_one(key)
        else:
            outcome, joined = (await self._fetch((key,), at_least)).outcomes[key], False
        match = self._agreed(one, outcome, joined, oldest)
        return match or self._conclude(one, outcome, joined, started, at_least)

    async def verify_many(
        self, items: Sequence[Item], *, at_least: Position | None = None, duplicates: bool = False
    ) -> AsyncGenerator[Block]:
        """The answers to many questions, in their order, each block as soon as it is there.

        With ``duplicates`` repeated invoices get a hint.
        """
        seen = Duplicates() if duplicates else None
        for first in range(0, len(items), ITEMS_PER_LOAD):
            part = items[first : first + ITEMS_PER_LOAD]
            keys = raw_keys(part)
            repeats = seen is not None and seen.among(keys)
            async for start, block in self._verify_part(part, keys, at_least):
                if seen is not None:
                    if block.recalled and not repeats:
                        seen.passed(keys[start : start + ITEMS_PER_BLOCK])
                    else:
                        seen.hint(block.answers)
                yield block

    async def _verify_part(
        self, items: Sequence[Item], keys: Sequence[str], at_least: Position | None
    ) -> AsyncIterator[tuple[int, Block]]:
        """As many as one load may have, each block with the index of its first item."""
        started = self._begin()
        oldest = self._freshness.oldest(started)
        waiting: list[Any] = []
        first = 0
        for start in range(0, len(items), ITEMS_PER_BLOCK):
            some = slice(start, start + ITEMS_PER_BLOCK)
            answers, plain = self._recall(items[some], keys[some], started, oldest, at_least)
            if plain and not waiting:
                yield start, Block(answers, recalled=True)
                first = some.stop
            else:
                waiting += answers
        await self._answer(waiting, items[first:], started, oldest, at_least)
        for start in range(0, len(waiting), ITEMS_PER_BLOCK):
            yield first + start, Block(waiting[start : start + ITEMS_PER_BLOCK], recalled=False)

    async def _answer(
        self,
        answers: list[Any],
        items: Sequence[Item],
        started: float,
        oldest: float,
        at_least: Position | None,
    ) -> None:
        """Put an answer in place of whatever memory did not match, by one load for all."""
        closer = [index for index, one in enumerate(answers) if one is None]
        async for index in _in_turns(closer):
            answers[index] = self._look_closer(items[index], started, oldest, at_least)
        opened = [index for index, one in enumerate(answers) if type(one) is _Open]
        if not opened:
            return
        keys = dict.fromkeys([answers[index].key for index in opened])
        if at_least is None:
            loaded = await self._loader.load(keys, bulk=True)
        else:
            loaded = await self._fetch(keys, at_least)
        outcomes, joined = loaded.outcomes, loaded.joined
        closer = []
        for index in opened:
            one: _Open = answers[index]
            match = self._agreed(one, outcomes[one.key], one.key in joined, oldest)
            if match is None:
                closer.append(index)
            else:
                answers[index] = match
        async for index in _in_turns(closer):
            one = answers[index]
            answers[index] = self._conclude(
                one, outcomes[one.key], one.key in joined, started, at_least
            )

    def _recall(
        self,
        items: Sequence[Any],
        keys: Sequence[str],
        started: float,
        oldest: float,
        at_least: Position | None,
    ) -> tuple[list[Any], bool]:
        """Answers from memory without parsing, and whether each of the items has got its Match.

        In place of others stands what has to be loaded, or None where it takes a closer look.
        """
        window = self._window
        recalled: list[Match | _Open | None] = []
        plain = True
        # What has a key is a Question.
        for item, key, finding in zip(
            items, keys, self._memory.recall(keys, started, oldest), strict=True
        ):
            if finding is not None and (at_least is None or _shows(finding, at_least)):
                record = finding.record
                if record is not None and agrees(item, record, window):
                    live = finding.reading.live
                    current = finding.reading if live is None else live.reading
                    assert current is not None
                    recalled.append(Match(key, record, current, "cache", item.reference))
                else:
                    recalled.append(None)
                    plain = False
            else:
                recalled.append(_Open(item, key, None) if key and is_canonical(key) else None)
                plain = False
        return recalled, plain

    def _look_closer(
        self, item: Item, started: float, oldest: float, at_least: Position | None
    ) -> Answer | _Open:
        """The answer to an item that has to be parsed, or what has to be loaded for it."""
        if isinstance(item, Invalid):
            return invalid(item)
        claim = self._parse(item)
        if isinstance(claim, Answer):
            return claim
        finding = self._memory.recall((claim.key,), started, oldest)[0]
        if finding is None or (at_least and not _shows(finding, at_least)):
            return _Open(item, claim.key, claim)
        return _judge(claim, finding, _holding(finding), "cache")

    def _parse(self, item: Question | Mapping[str, Any]) -> Claim | Answer:
        given = msgspec.structs.asdict(item) if isinstance(item, Question) else item
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

    def _agreed(self, opened: _Open, outcome: Outcome, joined: bool, oldest: float) -> Match | None:
        """The match from what was loaded for an item, without parsing it; None: look closer."""
        item = opened.item
        if opened.claim is None and isinstance(item, Question) and isinstance(outcome, Finding):
            record, reading = outcome.record, outcome.reading
            if (
                record is not None
                and reading.as_of >= oldest
                and agrees(item, record, self._window)
            ):
                source = "joined" if joined else reading.source
                return Match(opened.key, record, reading, source, item.reference)
        return None

    def _conclude(
        self,
        opened: _Open,
        outcome: Outcome,
        joined: bool,
        started: float,
        at_least: Position | None,
    ) -> Answer:
        """The answer from what was loaded for an item, perhaps on behalf of another caller."""
        claim = opened.claim
        if isinstance(outcome, Finding) and outcome.reading.as_of < self._freshness.oldest(started):
            outcome = _STALE
        if claim is None:
            parsed = self._parse(opened.item)
            if isinstance(parsed, Answer):
                return parsed
            claim = parsed
        if isinstance(outcome, Finding):
            # The change of a key may have been applied since this read of it.
            return _judge(claim, outcome, outcome.reading, "joined" if joined else "")
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


async def _in_turns(indexes: Sequence[int]) -> AsyncIterator[int]:
    """The same, giving way to other work in between."""
    for turn, index in enumerate(indexes, 1):
        yield index
        if not turn % _PARSED_PER_TURN:
            await sleep(0)


def _shows(finding: Finding, position: Position) -> bool:
    current = finding.reading.current
    return current is not None and current.shows(position)


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
