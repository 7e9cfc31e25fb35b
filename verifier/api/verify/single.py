"""``POST /v1/verify``: one question, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import perf_counter

from aiohttp import web

from verifier.access.callers import Caller
from verifier.access.limits import Over
from verifier.api.server import problems
from verifier.api.server.guard import caller_of
from verifier.api.server.route import Route
from verifier.api.server.shapes import (
    LANGUAGE,
    LIMITED,
    UNREADABLE,
    Content,
    Operation,
    problem,
    refusal,
)
from verifier.api.verify import timeouts
from verifier.api.verify.bulk import Counts, Resources
from verifier.api.verify.charging import beyond, charge
from verifier.api.verify.parameters import SERVER_TIMING, TIMEOUT, TIMING, TOKEN
from verifier.api.verify.veil import Veiled
from verifier.engine.laps import Laps
from verifier.engine.verifier import Asked
from verifier.errors import BadRequest, Unavailable
from verifier.invoice.claim import Item, Question
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
        self._counts = Counts(metrics, resources.usage, resources.noticing, "verify")
        self._by_desk, self._by_aiohttp = metrics.ways.cell("desk"), metrics.ways.cell("aiohttp")
        # As the boundary counts and times them.
        self._refused = metrics.http_errors.cell("verify", "unavailable")
        self._answered, self._invalid, self._unavailable, self._limited = (
            metrics.requests.cell("verify", outcome)
            for outcome in ("answered", "invalid", "unavailable", "refused")
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
        resources, caller = self._resources, caller_of(request)
        charge(caller, 1)
        if not resources.admission.admits():
            self._counts.offered.refuse()
            if caller is not None:
                caller.give_back(1)
            raise resources.admission.refusal()
        self._counts.offered.take_in()
        began = resources.clock()
        within = timeouts.timeout_of(request, resources.requests.single_timeout)
        veil = resources.veil.of(caller)
        # Which steps there were would tell what the veil hides.
        timed = veil is None and SERVER_TIMING in request.headers
        laps = Laps(perf_counter) if timed else None
        body = await resources.bodies.read(request, resources.requests.max_body)
        item = decode_question(body)
        if laps is not None:
            laps.end("parse")
        if veil is not None:
            # What is answered in a short time and what is not would tell what was read.
            within = resources.requests.single_timeout
        deadline = began + within
        asking: Awaitable[Answer] = resources.verifier.verify(
            item,
            at_least=resources.at_least(request),
            deadline=deadline,
            laps=laps,
            discreet=veil is not None,
        )
        if veil is not None:
            asking = _under(veil, asking)
        elif timeouts.HEADER in request.headers:
            asking = self._in_time(asking, deadline)
        answer = await asking
        self._counts.count(answer)
        if caller is not None:
            self._counts.count_for(caller, answer)
        self._by_aiohttp.count += 1
        body, problem = self._encoded(answer, problems.language(request))
        if problem is not None:
            return problems.ready(
                problem.verdict, body, retry_after=problem.retry_after, headers=_timing(laps)
            )
        return resources.responder.json(request, body, _timing(laps), caller)

    async def _in_time(self, asking: Awaitable[Answer], deadline: float) -> Answer:
        """The answer, if it comes before a deadline: a read that is under way may take longer."""
        try:
            async with asyncio.timeout(deadline - self._resources.clock()):
                return await asking
        except TimeoutError:
            raise Unavailable("timeout") from None

    def at_once(
        self,
        body: bytes,
        caller: Caller | None,
        language: Language,
        later: Callable[[Callable[[], bytes]], object],
    ) -> bytes | None:
        """The response to a question of the front desk; None when ``later`` gets what makes it.

        The same bytes as the handler's. Raises BadRequest for what that refuses.
        """
        started = perf_counter()
        resources = self._resources
        if caller is not None and (over := caller.take_one()) is not None:
            return self._beyond(caller, over, language, started)
        if not resources.admission.admits():
            return self._when_full(body, caller, language, started)
        try:
            if len(body) > resources.requests.max_body:
                # The handler says how large it may be.
                raise BadRequest("body_too_large", "")
            item = decode_question(body)
        except BadRequest:
            # The handler says why, and charges it.
            if caller is not None:
                caller.give_back(1)
            raise
        self._counts.offered.take_in()
        deadline = resources.clock() + resources.requests.single_timeout
        if caller is not None and not caller.explains:
            return self._veiled(item, deadline, caller, language, started, later)

        def told(asked: Asked) -> None:
            later(lambda: self._response(asked.answer(), caller, language, started))

        answer = resources.verifier.verify_soon(item, told, deadline=deadline)
        return None if answer is None else self._response(answer, caller, language, started)

    def _veiled(
        self,
        item: Item,
        deadline: float,
        caller: Caller,
        language: Language,
        started: float,
        later: Callable[[Callable[[], bytes]], object],
    ) -> bytes | None:
        """The same for a caller who may not know whether an invoice is there."""
        veil = self._resources.veil.of(caller)
        assert veil is not None

        def answered(answer: Answer) -> bytes | None:
            if answer.verdict == "match":
                return self._response(answer, caller, language, started)
            make = partial(self._response, answer, caller, language, started)
            asyncio.get_running_loop().call_later(veil.left(), later, make)
            return None

        def told(asked: Asked) -> None:
            response = answered(asked.answer())
            if response is not None:
                later(lambda: response)

        answer = self._resources.verifier.verify_soon(item, told, deadline=deadline, discreet=True)
        return None if answer is None else answered(answer)

    def _beyond(self, caller: Caller, over: Over, language: Language, started: float) -> bytes:
        """That too little is left of a limit."""
        error = beyond(caller, over)
        self._resources.metrics.http_errors.add("verify", error.code)
        refused = self._resources.responder.refusal(error, language)
        self._limited.observe(perf_counter() - started)
        return refused

    def _when_full(
        self, body: bytes, caller: Caller | None, language: Language, started: float
    ) -> bytes:
        """A match that memory has, which costs little more than a refusal; or that."""
        resources = self._resources
        match = None
        if len(body) <= resources.requests.max_body:
            # What cannot be read is refused with the others: to say why would cost more.
            with suppress(BadRequest):
                match = resources.verifier.recall_match(decode_question(body))
        if match is not None:
            self._counts.offered.take_in()
            return self._response(match, caller, language, started)
        if caller is not None:
            caller.give_back(1)
        self._refused.count += 1
        self._counts.offered.refuse()
        self._unavailable.observe(perf_counter() - started)
        return resources.responder.overloaded(language, resources.admission.retry_after)

    def _response(
        self, answer: Answer, caller: Caller | None, language: Language, started: float
    ) -> bytes:
        self._counts.count(answer)
        if caller is not None:
            self._counts.count_for(caller, answer)
        self._by_desk.count += 1
        responder, outcome = self._resources.responder, self._answered
        body, problem = self._encoded(answer, language)
        if problem is None:
            response = responder.answer(body, caller)
        else:
            outcome = self._invalid if problem.verdict == "invalid" else self._unavailable
            response = responder.problem(problem.verdict, body, retry_after=problem.retry_after)
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


async def _under(veil: Veiled, asking: Awaitable[Answer]) -> Answer:
    answer = await asking
    if answer.verdict != "match":
        await veil.wait()
    return answer


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
        **LIMITED,
    },
)
