"""Steps: what is done for an item before and after its load, from memory and from what was found.

Nothing here waits. Most items get their answer in the first step, without being parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from verifier.clocks import Clocks
from verifier.engine.calls import Outcome
from verifier.engine.freshness import Freshness, Terms
from verifier.engine.memory import Memory
from verifier.errors import Unavailable
from verifier.invoice.claim import Claim, Invalid, Item, Question, reference_of
from verifier.invoice.identity import is_canonical
from verifier.invoice.parsing import parse
from verifier.invoice.verdict import (
    Answer,
    Match,
    agrees,
    complete_until,
    invalid,
    judge,
    window_at,
)
from verifier.state import Position, Reading
from verifier.wire.blocks import Block
from verifier.wire.records import Finding, Record

_STALE = Unavailable("stale")

# Seconds after the wall clock was set in which the former day may still be today.
_WINDOW_HOLDS = 0.05


class Steps:
    """``clocks.steady`` is the clock of ``Reading.as_of``; ``clocks.wall`` says what day it is."""

    def __init__(self, memory: Memory, freshness: Freshness, clocks: Clocks) -> None:
        self._memory = memory
        self._freshness = freshness
        self._clock = clocks.steady
        self._wall = clocks.wall
        self._window = window_at(clocks.wall())
        self._window_holds_until = 0.0

    def begin(self, at_least: Position | None) -> Terms:
        """The terms of a question that starts now; with it the days that are in scope."""
        started = self._clock()
        if started >= self._window_holds_until:
            now = self._wall()
            # It may have been set back as well.
            if not self._window.since <= now < self._window.until:
                self._window = window_at(now)
            self._window_holds_until = started + min(_WINDOW_HOLDS, self._window.until - now)
        return Terms(started, self._freshness.oldest(started), at_least)

    def recall(self, items: Sequence[Any], keys: Sequence[str], terms: Terms) -> Block:
        """Answers from memory without parsing; ``keys`` are the ``raw_keys`` of the items."""
        window = self._window
        # What memory knows is replaced in place by what is not answered by it.
        answers, reading = self._memory.recall(keys, terms)
        recalled = True
        for index, finding in enumerate(answers):
            # What has a key is a Question.
            if type(finding) is not Record or not agrees(items[index], finding, window):
                key = keys[index]
                answers[index] = key if finding is None and is_canonical(key) else None
                recalled = False
        return Block(items, keys, answers, reading, recalled)

    def look_closer(self, item: Item, terms: Terms) -> Answer | Claim:
        """The answer to an item that has to be parsed, or its claim if that has to be loaded."""
        if isinstance(item, Invalid):
            return invalid(item)
        claim = self._parse(item)
        if isinstance(claim, Answer):
            return claim
        (finding,), reading = self._memory.recall((claim.key,), terms)
        if finding is None:
            return claim
        # A record holds as of now; that there was none is as old as the reading, and so must be
        # the watermark that it is held against.
        return _judge(claim, finding, reading or finding.reading, "cache")

    def conclude(
        self, one: str | Claim, item: Any, outcome: Outcome, joined: bool, terms: Terms
    ) -> Answer | Match:
        """The answer from what was loaded for an item, or from the reason why it was not.

        ``one`` is its claim, or its raw key if it was not parsed; only a Question has one.
        """
        source = "joined" if joined else ""
        claim: Claim | Answer
        if isinstance(one, Claim):
            claim = one
        else:
            if (
                type(outcome) is Record
                and outcome.reading.as_of >= terms.oldest
                and agrees(item, outcome, self._window)
            ):
                reading = outcome.reading
                return Match(one, outcome, reading, source or reading.source, item.reference)
            claim = self._parse(item)
            if isinstance(claim, Answer):
                return claim
        if not isinstance(outcome, Unavailable):
            if outcome.reading.as_of >= terms.oldest:
                # The change of a key may have been applied since this read of it.
                return _judge(claim, outcome, outcome.reading, source)
            outcome = _STALE
        return self._without_ledger(claim, outcome, terms)

    def _parse(self, item: Question | Mapping[str, Any]) -> Claim | Answer:
        given = msgspec.structs.asdict(item) if isinstance(item, Question) else item
        parsed = parse(given, self._window.oldest, self._window.today)
        if isinstance(parsed, Claim):
            return parsed
        answer = invalid(parsed)
        answer.reference = reference_of(given)
        return answer

    def _without_ledger(self, claim: Claim, error: Unavailable, terms: Terms) -> Answer:
        """What can be said when the ledger could not be read."""
        # A token allows no older state, whatever else is allowed.
        kept = None if terms.at_least else self._memory.kept(claim.key)
        if kept is not None and self._freshness.tolerates(kept, terms.started):
            answer = _judge(claim, kept, kept.reading.current or kept.reading, "cache")
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


def _judge(claim: Claim, finding: Finding, reading: Reading, source: str) -> Answer:
    watermark = complete_until(reading.watermarks.get(claim.region), reading.moment)
    record = finding if isinstance(finding, Record) else None
    answer = judge(claim, record, watermark)
    answer.reading = reading
    answer.source = source or reading.source
    return answer
