"""Single questions and batches: parse, call the verifier once, respond."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiohttp import web
from multidict import istr

from verifier.api.server import problems
from verifier.api.server.body import Bodies, compressed, refuse_compressed
from verifier.api.server.readers import Cut, Readers, SlowReader
from verifier.api.server.respond import Responder
from verifier.config import Config
from verifier.engine.verifier import Verifier
from verifier.errors import BadRequest, Unavailable
from verifier.invoice.answers import Block
from verifier.invoice.claim import Item
from verifier.invoice.record import USABLE, USES, Record
from verifier.invoice.verdict import VERDICTS, Answer, Match, VerdictName
from verifier.metrics import Cell, Metrics
from verifier.pacing import Turns
from verifier.state import Position
from verifier.wire import answers, questions
from verifier.wire import batches as reading
from verifier.wire.messages import Language
from verifier.wire.tokens import HEADER, Tokens

# multidict finds one of its own kind faster.
TOKEN = istr(HEADER)


class Counts:
    """Counts answers of one endpoint by verdict, source and reason."""

    def __init__(self, metrics: Metrics, endpoint: str) -> None:
        self._verdicts: dict[str, Cell] = {
            verdict: metrics.answers.cell(endpoint, verdict) for verdict in VERDICTS
        }
        self._sources: dict[str, Cell] = {
            source: metrics.sources.cell(source)
            for source in ("cache", "joined", "replica", "primary")
        }
        self._unavailable = metrics.unavailable

    def count(self, answer: Answer | Match) -> None:
        """Count one answer."""
        self._verdicts[answer.verdict].count += 1
        if answer.source:
            self._sources[answer.source].count += 1
        elif isinstance(answer, Answer) and answer.reason:
            self._unavailable.add(answer.reason)

    def count_block(self, block: Block, tally: Tally) -> None:
        """Count many, in the tally of their request too."""
        answers = block.answers
        recalled = len(answers)
        if not block.recalled:
            others = [answer for answer in answers if type(answer) is not Record]
            recalled -= len(others)
            for answer in others:
                self.count(answer)
                if answer.record is None:
                    tally.verdicts[answer.verdict] += 1
            # Only a match has a record.
            records = [each if type(each) is Record else each.record for each in answers]
            answers = [record for record in records if record is not None]
        self._verdicts["match"].count += recalled
        self._sources["cache"].count += recalled
        tally.add_matches(answers)


class Tally:
    """How many answers of one batch or stream there are of each verdict; matches by their use."""

    def __init__(self) -> None:
        self.verdicts: dict[VerdictName, int] = dict.fromkeys(VERDICTS, 0)
        self.uses = dict.fromkeys(USES, 0)

    def add_matches(self, records: Sequence[Record]) -> None:
        """Count the records of some matches; most are usable."""
        unusable = [record.use for record in records if record.use is not USABLE]
        self.verdicts["match"] += len(records)
        self.uses[USABLE] += len(records) - len(unusable)
        for use in unusable:
            self.uses[use] += 1


class Bulk:
    """The answers of one batch or stream, as blocks of JSON, with their summary.

    ``before`` and ``after`` are for ``Encoder.encode_many``.
    """

    def __init__(
        self,
        verifier: Verifier,
        encoder: answers.Encoder,
        counts: Counts,
        turns: Turns,
        language: Language,
        *,
        at_least: Position | None,
        before: bytes = b"",
        after: bytes = b"",
    ) -> None:
        self._verifier = verifier
        self._before = before
        self._after = after
        self._encoder = encoder
        self._counts = counts
        self._turns = turns
        self._language = language
        self._at_least = at_least
        self._answered = 0
        self._tally = Tally()

    async def answer(
        self, items: Sequence[Item], *, duplicates: bool = False
    ) -> AsyncGenerator[bytes]:
        """The answers to the next items in their order, numbered on from the last ones.

        ``duplicates`` is for ``Verifier.verify_many``.
        """
        blocks = self._verifier.verify_many(items, at_least=self._at_least, duplicates=duplicates)
        async with aclosing(blocks):
            async for block in blocks:
                self._counts.count_block(block, self._tally)
                yield self._encoder.encode_many(
                    block, self._language, self._answered, self._before, self._after
                )
                self._answered += len(block.answers)
                await self._turns.next()

    def summary(self) -> bytes:
        """How many answers of each verdict, and of matches by their use, as JSON."""
        return answers.counts_json(self._tally.verdicts, self._tally.uses)


class Handlers:
    """``POST /v1/verify`` and ``POST /v1/verify/batch``."""

    def __init__(
        self,
        verifier: Verifier,
        encoder: answers.Encoder,
        responder: Responder,
        readers: Readers,
        bodies: Bodies,
        turns: Turns,
        tokens: Tokens,
        config: Config,
        metrics: Metrics,
    ) -> None:
        self._verifier = verifier
        self._encoder = encoder
        self._responder = responder
        self._readers = readers
        self._bodies = bodies
        self._turns = turns
        self._tokens = tokens
        self._config = config
        self._metrics = metrics
        self._single_counts = Counts(metrics, "verify")
        self._batch_counts = Counts(metrics, "batch")
        self._batches = 0
        metrics.in_progress.labels("batch").set_function(lambda: self._batches)

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """One question."""
        try:
            body = await self._bodies.read(request, self._config.max_body)
            item = questions.decode_question(body)
            at_least = self._tokens.position(request.headers.get(TOKEN))
        except (BadRequest, Unavailable) as error:
            return await self._refuse(request, "verify", error)
        answer = await self._verifier.verify(item, at_least=at_least)
        self._single_counts.count(answer)
        if isinstance(answer, Match):
            return self._responder.json(request, self._encoder.encode(answer, "zh"))
        language = problems.language(request)
        if answer.verdict == "invalid" or answer.verdict == "unavailable":
            problem = problems.problem(
                request,
                answer.verdict,
                answer.reason
                or "; ".join(f"{error.field}: {error.code}" for error in answer.errors),
                retry_after=answer.retry_after,
                members=self._encoder.members(answer, language),
            )
            return await self._readers.written(request, "verify", problem)
        return self._responder.json(request, self._encoder.encode(answer, language))

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """Many questions in one body; exactly one result each, in their order.

        A batch has its slot from when its body is there until its answer is written.
        """
        config = self._config
        try:
            refuse_compressed(request)
            # Before the body too: what is refused anyway need not be sent.
            self._admit_batch()
            body = await self._bodies.read(request, config.max_batch_body, bulk=True)
            self._admit_batch()
        except (BadRequest, Unavailable) as error:
            return await self._refuse(request, "batch", error)
        self._batches += 1
        try:
            await self._turns.next()
            items = await reading.read_batch(
                body, config.max_batch_items, config.max_line, self._turns
            )
            # Nothing of the question is needed while the client reads the answer.
            del body
            at_least = self._tokens.position(request.headers.get(TOKEN))
            blocks = await self._results(items, at_least, problems.language(request))
            del items
            return await self._responder.parts(request, "batch", blocks)
        except (BadRequest, Unavailable) as error:
            return await self._refuse(request, "batch", error)
        except SlowReader:
            return Cut()
        except ConnectionError:
            self._metrics.http_errors.add("batch", "client_gone")
            return Cut()
        finally:
            self._batches -= 1

    def _admit_batch(self) -> None:
        if self._batches >= self._config.max_batches:
            raise Unavailable("overloaded")

    async def _results(
        self, items: Sequence[Item], at_least: Position | None, language: Language
    ) -> list[bytes]:
        bulk = Bulk(
            self._verifier,
            self._encoder,
            self._batch_counts,
            self._turns,
            language,
            at_least=at_least,
            before=b",",
        )
        blocks = [b'{"results":[']
        blocks += [block async for block in bulk.answer(items, duplicates=True)]
        blocks.append(b'],"summary":%b}' % bulk.summary())
        return blocks

    async def _refuse(
        self, request: web.Request, route: str, error: BadRequest | Unavailable
    ) -> web.StreamResponse:
        # A compressed body reads as garbage, since it is not unpacked; say so rather than that.
        if error.code == "malformed_json" and compressed(request):
            error = BadRequest("content_encoding", "expected a body without Content-Encoding")
        self._metrics.http_errors.add(route, error.code)
        return await self._readers.written(request, route, problems.of_error(request, error))
