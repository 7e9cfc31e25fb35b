"""Steps: how an item is answered, before its load from memory and after it from what was found.

Nothing here waits. Most items get their answer in the first step, without being parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from verifier.clocks import Clocks
from verifier.engine.calls import Outcome
from verifier.engine.drafts import Draft, Unread
from verifier.engine.freshness import Freshness, Terms
from verifier.engine.memory import Memory
from verifier.errors import Unavailable
from verifier.invoice.claim import Claim, Invalid, Item, Question, raw_keys, reference_of
from verifier.invoice.identity import is_canonical
from verifier.invoice.parsing import parse
from verifier.invoice.verdict import (
    Answer,
    Judgement,
    Match,
    agrees,
    complete_until,
    disagreeing,
    invalid,
    judge,
    window_at,
)
from verifier.state import Position, Reading
from verifier.wire.blocks import Recalled
from verifier.wire.records import Finding, Record

_STALE = Unavailable("stale")

# After the wall clock was set, the day that it showed before may count for so many seconds more.
_WINDOW_HOLDS = 0.05


class Steps:
    """What one item needs, in the order of its methods.

    ``clocks.steady`` is the clock of ``Reading.as_of``; ``clocks.wall`` says what day it is.
    ``tried`` hears of each mismatch by its key, and says whether there were too many.
    """

    def __init__(
        self, memory: Memory, freshness: Freshness, clocks: Clocks, tried: Callable[[str], bool]
    ) -> None:
        self._tried = tried
        self._memory = memory
        self._freshness = freshness
        self._clock = clocks.steady
        self._wall = clocks.wall
        self._window = window_at(clocks.wall())
        self._window_holds_until = 0.0

    def begin(self, at_least: Position | None, deadline: float, *, discreet: bool = False) -> Terms:
        """The terms of a question that starts now; with it the days that are in scope."""
        started = self._clock()
        if started >= self._window_holds_until:
            now = self._wall()
            # The wall clock may also have been set back.
            if not self._window.since <= now < self._window.until:
                self._window = window_at(now)
            self._window_holds_until = started + min(_WINDOW_HOLDS, self._window.until - now)
        return Terms(started, self._freshness.oldest(started), at_least, deadline, discreet)

    def recall_one(self, item: Item, terms: Terms) -> Match | str | None:
        """The match of one item from memory, or the key that the ledger has to be read for.

        Nothing when the item has to be looked at more closely.
        """
        (key,) = raw_keys((item,))
        if key and isinstance(item, Question):
            finding, reading = self._memory.recall_one(key, terms)
            if isinstance(finding, Record):
                if reading is not None and agrees(item, finding, self._window):
                    return Match(key, finding, reading, "cache", item.reference)
            elif finding is None and is_canonical(key):
                return key
        return None

    def recall(self, items: Sequence[Item], keys: Sequence[str], terms: Terms) -> Recalled | Draft:
        """Match many items with memory, without parsing; ``keys`` are their ``raw_keys``."""
        # What has a key is a Question, and memory finds nothing for what has none.
        asked = cast("Sequence[Question]", items)
        records, absences, reading = self._memory.recall(keys, terms)
        unmatched = disagreeing(asked, records, self._window)
        if not unmatched:
            assert reading is not None
            return Recalled(asked, keys, cast("Sequence[Record]", records), reading)
        draft = Draft(items, {}, [], {}, {})
        for index in unmatched:
            key = keys[index]
            if records[index] is None and index not in absences and is_canonical(key):
                draft.unread[index] = key
            else:
                draft.unparsed.append(index)
        for index in set(range(len(items))).difference(unmatched):
            record, reference = records[index], asked[index].reference
            assert record is not None
            assert reading is not None
            draft.answers[index] = Match(keys[index], record, reading, "cache", reference)
        return draft

    def look_closer(self, item: Item, terms: Terms) -> Judgement | Claim:
        """The answer to an item that has to be parsed, or its claim if the ledger must be read."""
        if isinstance(item, Invalid):
            return invalid(item)
        claim = self._parse(item)
        if isinstance(claim, Judgement):
            return claim
        finding, reading = self._memory.recall_one(claim.key, terms)
        if finding is None:
            return claim
        # A record holds as of the newest reading. An absence is as old as its own reading, and so
        # must be the watermark by which it is judged.
        return self._judge(claim, finding, reading or finding.reading, "cache", terms)

    def conclude(
        self, unread: Unread, item: Item, outcome: Outcome, joined: bool, terms: Terms
    ) -> Answer:
        """The answer from what was loaded for an item, or from the reason why it was not."""
        source = "joined" if joined else ""
        claim: Claim | Judgement
        if isinstance(unread, str):
            # Only a Question spells a raw key.
            assert isinstance(item, Question)
            if (
                isinstance(outcome, Record)
                and outcome.reading.is_fresh(terms.oldest)
                and agrees(item, outcome, self._window)
            ):
                reading = outcome.reading
                return Match(unread, outcome, reading, source or reading.source, item.reference)
            claim = self._parse(item)
            if isinstance(claim, Judgement):
                return claim
        else:
            claim = unread
        if not isinstance(outcome, Unavailable):
            if outcome.reading.is_fresh(terms.oldest):
                # As of the state that was read: memory may have applied a later change since.
                return self._judge(claim, outcome, outcome.reading, source, terms)
            outcome = _STALE
        return self._without_ledger(claim, outcome, terms)

    def _parse(self, item: Question | Mapping[str, Any]) -> Claim | Judgement:
        given = msgspec.structs.asdict(item) if isinstance(item, Question) else item
        parsed = parse(given, self._window.oldest, self._window.today)
        if isinstance(parsed, Claim):
            return parsed
        answer = invalid(parsed)
        answer.reference = reference_of(given)
        return answer

    def _without_ledger(self, claim: Claim, error: Unavailable, terms: Terms) -> Judgement:
        """What can be said when the ledger could not be read."""
        # A state from before the token's position is no answer, not even a stale one.
        kept = None if terms.at_least else self._memory.kept(claim.key)
        if kept is not None and self._freshness.tolerates(kept, terms.started):
            reading = kept.reading.current or kept.reading
            answer = self._judge(claim, kept, reading, "cache", terms)
            answer.stale = True
            return answer
        return Judgement(
            "unavailable",
            claim.key,
            claim.reference,
            hints=claim.hints,
            # Which database was missed would tell whether it is there.
            reason="unchecked" if terms.discreet else error.reason,
            retry_after=error.retry_after,
        )

    def _judge(
        self, claim: Claim, finding: Finding, reading: Reading, source: str, terms: Terms
    ) -> Judgement:
        watermark = complete_until(reading.watermarks.get(claim.region), reading.moment)
        record = finding if isinstance(finding, Record) else None
        answer = judge(claim, record, watermark)
        if answer.verdict == "mismatch":
            if self._tried(claim.key) or terms.discreet:
                answer = judge(claim, None, watermark)
                # What is not there was asked of the primary.
                source = "primary"
            answer.said = claim.fingerprint()
        elif terms.discreet and record is None:
            # Else how it is noticed (access/noticing.py) would tell that it is not there.
            answer.said = claim.fingerprint()
        if not terms.discreet or answer.verdict == "match":
            # Where an answer comes from, and as of when, would tell whether a record is there.
            answer.reading = reading
            answer.source = source or reading.source
        return answer
