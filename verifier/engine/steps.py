"""Steps: what is done for an item before and after its load, from memory and from what was found.

Nothing here waits. Most items get their answer in the first step, without being parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import msgspec

from verifier.engine.freshness import Freshness
from verifier.engine.loader import Outcome
from verifier.engine.memory import Memory
from verifier.errors import Unavailable
from verifier.invoice.claim import Claim, Invalid, Question, is_canonical, reference_of
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

_STALE = Unavailable("stale")


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What an answer may rest on.

    When its question started, the oldest state that ``Freshness`` allows for that, and the position
    that the state must include, if any.
    """

    started: float
    oldest: float
    at_least: Position | None


class Open(msgspec.Struct, frozen=True, gc=False):
    """An item that memory could not answer; ``claim`` is None while it has not been parsed."""

    item: Question | Mapping[str, Any]
    key: str
    claim: Claim | None


class Steps:
    """``clock`` gives seconds since the epoch, never set back: that of ``Reading.as_of``."""

    def __init__(self, memory: Memory, freshness: Freshness, clock: Callable[[], float]) -> None:
        self._memory = memory
        self._freshness = freshness
        self._clock = clock
        self._window = window_at(clock())

    def begin(self, at_least: Position | None) -> Terms:
        """The terms of a question that starts now; with it the days that are in scope."""
        started = self._clock()
        if started >= self._window.until:
            self._window = window_at(started)
        return Terms(started, self._freshness.oldest(started), at_least)

    def recall(
        self, items: Sequence[Any], keys: Sequence[str], terms: Terms
    ) -> tuple[list[Any], bool]:
        """Answers from memory without parsing, and whether each of the items has got its Match.

        ``keys`` are the ``raw_keys`` of the items. In place of other answers stands an Open for
        what has to be loaded, or None where it takes a closer look.
        """
        window, at_least = self._window, terms.at_least
        recalled: list[Match | Open | None] = []
        plain = True
        found = self._memory.recall(keys, terms.started, terms.oldest)
        # What has a key is a Question.
        for item, key, finding in zip(items, keys, found, strict=True):
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
                recalled.append(Open(item, key, None) if is_canonical(key) else None)
                plain = False
        return recalled, plain

    def look_closer(self, item: Item, terms: Terms) -> Answer | Open:
        """The answer to an item that has to be parsed, or what has to be loaded for it."""
        if isinstance(item, Invalid):
            return invalid(item)
        claim = self._parse(item)
        if isinstance(claim, Answer):
            return claim
        finding = self._memory.recall((claim.key,), terms.started, terms.oldest)[0]
        if finding is None or (terms.at_least and not _shows(finding, terms.at_least)):
            return Open(item, claim.key, claim)
        return _judge(claim, finding, _holding(finding), "cache")

    def agree(
        self,
        answers: list[Any],
        opened: Sequence[int],
        outcomes: Mapping[str, Outcome],
        joined: Container[str],
        terms: Terms,
    ) -> list[int]:
        """Put the matches of what was loaded in place, without parsing; what is left over.

        ``opened`` says at which places of ``answers`` there is an Open. ``joined`` are the keys
        that were loaded on behalf of another caller.
        """
        window, oldest = self._window, terms.oldest
        rest = []
        for index in opened:
            one = answers[index]
            key = one.key
            outcome = outcomes[key]
            if (
                one.claim is None
                and type(outcome) is Finding
                and outcome.record is not None
                and outcome.reading.as_of >= oldest
                and agrees(one.item, outcome.record, window)
            ):
                source = "joined" if key in joined else outcome.reading.source
                reference = one.item.reference
                answers[index] = Match(key, outcome.record, outcome.reading, source, reference)
            else:
                rest.append(index)
        return rest

    def conclude(self, opened: Open, outcome: Outcome, joined: bool, terms: Terms) -> Answer:
        """The answer from what was loaded for an item, or from the reason why it was not."""
        claim = opened.claim or self._parse(opened.item)
        if isinstance(claim, Answer):
            return claim
        if isinstance(outcome, Finding):
            if outcome.reading.as_of >= terms.oldest:
                # The change of a key may have been applied since this read of it.
                return _judge(claim, outcome, outcome.reading, "joined" if joined else "")
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
