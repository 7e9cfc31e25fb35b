"""What the endpoints that answer questions share: resources, counts, and the answers of bulk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from math import inf

import msgspec
from aiohttp import web
from multidict import istr

from verifier.access.callers import Caller
from verifier.access.noticing import Noticing
from verifier.access.usage import Usage
from verifier.api.server import problems
from verifier.api.server.body import Bodies
from verifier.api.server.guard import caller_of
from verifier.api.server.readers import Readers
from verifier.api.server.respond import Responder
from verifier.api.verify.offered import Offered
from verifier.api.verify.veil import Veil, Veiled
from verifier.config import Answers, Requests
from verifier.engine.admission import Admission
from verifier.engine.verifier import Verifier
from verifier.invoice.claim import Item
from verifier.invoice.record import USABLE, USES, Held
from verifier.invoice.verdict import VERDICTS, Answer, Judgement, VerdictName
from verifier.metrics import Cell, Metrics
from verifier.pacing import Pace, Turns
from verifier.state import Position
from verifier.wire.answers import EncodeMany, Encoder, counts_json
from verifier.wire.blocks import Block, Recalled
from verifier.wire.messages import Language
from verifier.wire.tokens import HEADER, Tokens

# multidict finds one of its own kind faster.
_TOKEN = istr(HEADER)


class Resources(msgspec.Struct, frozen=True):
    """What a question is answered with, whichever endpoint it comes by."""

    verifier: Verifier
    admission: Admission
    # The steady one.
    clock: Callable[[], float]
    encoder: Encoder
    tokens: Tokens
    bodies: Bodies
    turns: Turns
    responder: Responder
    readers: Readers
    requests: Requests
    answers: Answers
    veil: Veil
    metrics: Metrics
    usage: Usage
    noticing: Noticing

    def at_least(self, request: web.BaseRequest) -> Position | None:
        """The position that the request's token names, if it has one.

        Raises BadRequest when it is not one of ours or one of several, and Unavailable.
        """
        given = request.headers.getall(_TOKEN, ())
        # Which of them would count? As a list they are no token of ours.
        return self.tokens.position(", ".join(given) if given else None)

    def bulk(
        self,
        counts: Counts,
        request: web.Request,
        *,
        at_least: Position | None,
        encode: EncodeMany,
        deadline: float = inf,
    ) -> Bulk:
        """The answers of one more batch or stream; no read begins for them after the deadline."""
        caller = caller_of(request)
        return Bulk(
            self.verifier,
            encode,
            counts,
            self.turns,
            problems.language(request),
            at_least=at_least,
            deadline=deadline,
            caller=caller,
            veil=self.veil.of(caller),
        )


class Counts:
    """Counts what is offered to one endpoint, and its answers by verdict, source and reason.

    Answers are counted for who asked, too, and those that miss are noticed.
    """

    def __init__(self, metrics: Metrics, usage: Usage, noticing: Noticing, endpoint: str) -> None:
        self._meter = usage.meter(endpoint)
        self._noticing = noticing
        self.offered = Offered(metrics, endpoint)
        self._verdicts: dict[str, Cell] = {
            verdict: metrics.answers.cell(endpoint, verdict) for verdict in VERDICTS
        }
        self._sources: dict[str, Cell] = {
            source: metrics.sources.cell(source)
            for source in ("cache", "joined", "replica", "primary")
        }
        self._unavailable = metrics.unavailable

    def count_for(self, caller: Caller, answer: Answer) -> None:
        """Count one answer as a caller's, which must be counted too.

        To look at the clock each time would take as long as the rest. So about midnight a question
        may count for the day before, until the next exchange looks.
        """
        verdict = answer.verdict
        self._meter.counts[caller][verdict] += 1
        if verdict == "match":
            caller.trail.asked += 1
        elif isinstance(answer, Judgement):
            self._noticing.missed(caller, 0, (answer,))

    def count(self, answer: Answer) -> None:
        """Count one answer."""
        self._verdicts[answer.verdict].count += 1
        if answer.source:
            self._sources[answer.source].count += 1
        elif isinstance(answer, Judgement) and answer.reason:
            self._unavailable.add(answer.reason)

    def count_block(self, block: Block, tally: Tally, caller: Caller | None) -> None:
        """Count many, in the tally of their request too."""
        used = self._meter.of(caller)
        if isinstance(block, Recalled):
            used["match"] += len(block)
            self._verdicts["match"].count += len(block)
            self._sources["cache"].count += len(block)
            tally.add_matches(block.records)
            if caller is not None:
                caller.trail.asked += len(block)
            return
        records = []
        for answer in block.answers:
            self.count(answer)
            # Only a match has one.
            if answer.record is None:
                used[answer.verdict] += 1
                tally.verdicts[answer.verdict] += 1
            else:
                records.append(answer.record)
        used["match"] += len(records)
        tally.add_matches(records)
        if caller is not None:
            others = (answer for answer in block.answers if isinstance(answer, Judgement))
            self._noticing.missed(caller, len(records), others)


class Tally:
    """How many answers of one batch or stream there are of each verdict; matches by their use."""

    def __init__(self) -> None:
        self.verdicts: dict[VerdictName, int] = dict.fromkeys(VERDICTS, 0)
        self.uses = dict.fromkeys(USES, 0)

    def add_matches(self, records: Sequence[Held]) -> None:
        """Count the records of some matches; most are usable."""
        unusable = [record.traits.use for record in records if record.traits.use is not USABLE]
        self.verdicts["match"] += len(records)
        self.uses[USABLE] += len(records) - len(unusable)
        for use in unusable:
            self.uses[use] += 1


class Bulk:
    """The answers of one batch or stream, as blocks of JSON, with their summary.

    With a ``veil`` its caller may not know which invoices are there.
    """

    def __init__(
        self,
        verifier: Verifier,
        encode: EncodeMany,
        counts: Counts,
        turns: Turns,
        language: Language,
        *,
        at_least: Position | None,
        deadline: float = inf,
        caller: Caller | None = None,
        veil: Veiled | None = None,
    ) -> None:
        self._caller = caller
        self._veil = veil
        self._verifier = verifier
        self._encode = encode
        self._counts = counts
        # A block of what was loaded takes less than a turn is worth.
        self._pace = Pace(turns)
        self._language = language
        self._at_least = at_least
        self._deadline = deadline
        self._answered = 0
        # Whether there is an answer that is no match from memory since it was settled.
        self._is_unsettled = False
        self._tally = Tally()

    async def settle(self) -> None:
        """Return when what was answered may be told."""
        if self._veil is not None and self._is_unsettled:
            await self._veil.wait()
        self._is_unsettled = False

    async def answer(
        self, items: Sequence[Item], *, duplicates: bool = False
    ) -> AsyncGenerator[bytes]:
        """The answers to the next items in their order, numbered on from the last ones.

        ``duplicates`` is for ``Verifier.verify_many``.
        """
        self._counts.offered.take_in(len(items))
        blocks = self._verifier.verify_many(
            items,
            at_least=self._at_least,
            deadline=self._deadline,
            duplicates=duplicates,
            discreet=self._veil is not None,
            pace=self._pace,
        )
        async with aclosing(blocks):
            async for block in blocks:
                self._is_unsettled |= not isinstance(block, Recalled)
                self._counts.count_block(block, self._tally, self._caller)
                yield self._encode(block, self._language, self._answered)
                self._answered += len(block)
                await self._pace.give_way()

    def summary(self) -> bytes:
        """How many answers of each verdict, and of matches by their use, as JSON."""
        return counts_json(self._tally.verdicts, self._tally.uses)
