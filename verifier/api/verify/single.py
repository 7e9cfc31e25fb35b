"""``POST /v1/verify``: one question, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter

from aiohttp import web

from verifier.api.server import problems
from verifier.api.server.route import Route
from verifier.api.server.shapes import LANGUAGE, UNREADABLE, Content, Operation, problem, refusal
from verifier.api.verify import timeouts
from verifier.api.verify.bulk import Counts, Resources
from verifier.api.verify.parameters import SERVER_TIMING, TIMEOUT, TIMING, TOKEN
from verifier.engine.laps import Laps
from verifier.engine.verifier import Asked
from verifier.errors import BadRequest, Unavailable
from verifier.invoice.claim import Question
from verifier.invoice.verdict import Answer, Judgement, Match
from verifier.wire import schemas
from verifier.wire.messages import Language
from verifier.wire.problems import document
from verifier.wire.questions import decode_question
from verifier.wire.tokens import HEADER


class Single:
    """Answers single questions."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        metrics = resources.metrics
        self._counts = Counts(metrics, "verify")
        self._by_desk, self._by_aiohttp = metrics.ways.cell("desk"), metrics.ways.cell("aiohttp")
        # As the boundary counts and times them.
        self._refused = metrics.http_errors.cell("verify", "unavailable")
        self._answered, self._invalid, self._unavailable = (
            metrics.requests.cell("verify", outcome)
            for outcome in ("answered", "invalid", "unavailable")
        )

    def route(self) -> Route:
        """The route of these requests."""
        return Route(
            "POST",
            "/v1/verify",
            "verify",
            self.verify,
            OPERATION,
            scope="verify",
            cost="one",
            at_once=self.at_once,
            heeds=frozenset({HEADER.lower(), SERVER_TIMING.lower(), timeouts.HEADER.lower()}),
        )

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """One question."""
        resources = self._resources
        if not resources.admission.admits():
            self._counts.offered.refuse()
            raise resources.admission.refusal()
        self._counts.offered.take_in()
        began = resources.clock()
        within = timeouts.timeout_of(request, resources.requests.single_timeout)
        laps = Laps(perf_counter) if SERVER_TIMING in request.headers else None
        body = await resources.bodies.read(request, resources.requests.max_body)
        item = decode_question(body)
        if laps is not None:
            laps.end("parse")
        deadline = began + within
        asking = resources.verifier.verify(
            item, at_least=resources.at_least(request), deadline=deadline, laps=laps
        )
        if timeouts.HEADER in request.headers:
            asking = self._in_time(asking, deadline)
        answer = await asking
        self._counts.count(answer)
        self._by_aiohttp.count += 1
        body, problem = self._encoded(answer, problems.language(request))
        if problem is not None:
            return problems.ready(
                problem.verdict, body, retry_after=problem.retry_after, headers=_timing(laps)
            )
        return resources.responder.json(request, body, _timing(laps))

    async def _in_time(self, asking: Awaitable[Answer], deadline: float) -> Answer:
        """The answer, if it comes before a deadline: a read that is under way may take longer."""
        try:
            async with asyncio.timeout(deadline - self._resources.clock()):
                return await asking
        except TimeoutError:
            raise Unavailable("timeout") from None

    def at_once(
        self, body: bytes, language: Language, later: Callable[[Callable[[], bytes]], object]
    ) -> bytes | None:
        """The response to a question of the front desk; None when ``later`` gets what makes it.

        The same bytes as the handler's. Raises BadRequest for what that refuses.
        """
        started = perf_counter()
        resources = self._resources
        if not resources.admission.admits():
            return self._when_full(body, language, started)
        self._counts.offered.take_in()
        if len(body) > resources.requests.max_body:
            raise BadRequest("body_too_large", f"expected at most {resources.requests.max_body}")
        item = decode_question(body)

        def told(asked: Asked) -> None:
            later(lambda: self._response(asked.answer(), language, started))

        deadline = resources.clock() + resources.requests.single_timeout
        answer = resources.verifier.verify_soon(item, told, deadline=deadline)
        return None if answer is None else self._response(answer, language, started)

    def _when_full(self, body: bytes, language: Language, started: float) -> bytes:
        """A match that memory has, which costs little more than a refusal; or that."""
        resources = self._resources
        match = None
        if len(body) <= resources.requests.max_body:
            # What cannot be read is refused with the others: to say why would cost more.
            with suppress(BadRequest):
                match = resources.verifier.recall_match(decode_question(body))
        if match is not None:
            self._counts.offered.take_in()
            return self._response(match, language, started)
        self._refused.count += 1
        self._counts.offered.refuse()
        self._unavailable.observe(perf_counter() - started)
        return resources.responder.overloaded(language, resources.admission.retry_after)

    def _response(self, answer: Answer, language: Language, started: float) -> bytes:
        self._counts.count(answer)
        self._by_desk.count += 1
        responder, outcome = self._resources.responder, self._answered
        body, problem = self._encoded(answer, language)
        if problem is None:
            response = responder.answer(body)
        else:
            outcome = self._invalid if problem.verdict == "invalid" else self._unavailable
            response = responder.problem(problem.verdict, body, problem.retry_after)
        outcome.observe(perf_counter() - started)
        return response

    def _encoded(self, answer: Answer, language: Language) -> tuple[bytes, Judgement | None]:
        """The body of an answer; and the answer again, if it goes out as a problem document."""
        encoder = self._resources.encoder
        if isinstance(answer, Match):
            return encoder.encode(answer, "zh"), None
        if answer.verdict == "invalid" or answer.verdict == "unavailable":
            members = encoder.members(answer, language)
            return document(answer.verdict, language, _detail(answer), members), answer
        return encoder.encode(answer, language), None


def _detail(answer: Judgement) -> str:
    """Why there is no verdict: a reason, or what is wrong with each field."""
    return answer.reason or "; ".join(
        f"{error.field or 'body'}: {error.code}" for error in answer.errors
    )


def _timing(laps: Laps | None) -> dict[str, str] | None:
    if laps is None:
        return None
    laps.end("write")
    steps = (f"{step};dur={seconds * 1e3:.3f}" for step, seconds in laps.seconds.items())
    return {SERVER_TIMING: ", ".join(steps)}


OPERATION = Operation(
    "Ask about one invoice",
    parameters=(TOKEN, LANGUAGE, TIMEOUT, TIMING),
    body=Content(Question),
    responses={
        200: Content(schemas.Answer, "match, mismatch, not_found or pending."),
        422: problem("invalid: which field, why, and what was expected."),
        503: refusal("unavailable: could not be checked, or there was no time for it."),
        **UNREADABLE,
    },
)
