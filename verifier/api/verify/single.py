"""``POST /v1/verify``: one question, one answer."""

from __future__ import annotations

from aiohttp import web

from verifier.api.server import problems
from verifier.api.server.route import Route
from verifier.api.server.shapes import LANGUAGE, UNREADABLE, Content, Operation, problem, refusal
from verifier.api.verify.bulk import Counts, Resources
from verifier.api.verify.parameters import TOKEN
from verifier.invoice.claim import Question
from verifier.invoice.verdict import Match
from verifier.wire import schemas
from verifier.wire.questions import decode_question


class Single:
    """Answers single questions."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._counts = Counts(resources.metrics, "verify")

    def route(self) -> Route:
        """The route of these requests."""
        return Route(
            "POST", "/v1/verify", "verify", self.verify, OPERATION, scope="verify", cost="one"
        )

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """One question."""
        resources = self._resources
        body = await resources.bodies.read(request, resources.requests.max_body)
        item = decode_question(body)
        answer = await resources.verifier.verify(item, at_least=resources.at_least(request))
        self._counts.count(answer)
        if isinstance(answer, Match):
            return resources.responder.json(request, resources.encoder.encode(answer, "zh"))
        language = problems.language(request)
        if answer.verdict == "invalid" or answer.verdict == "unavailable":
            return problems.response(
                request,
                answer.verdict,
                answer.reason
                or "; ".join(f"{error.field or 'body'}: {error.code}" for error in answer.errors),
                retry_after=answer.retry_after,
                members=resources.encoder.members(answer, language),
            )
        return resources.responder.json(request, resources.encoder.encode(answer, language))


OPERATION = Operation(
    "Ask about one invoice",
    parameters=(TOKEN, LANGUAGE),
    body=Content(Question),
    responses={
        200: Content(schemas.Answer, "match, mismatch, not_found or pending."),
        422: problem("invalid: which field, why, and what was expected."),
        503: refusal("unavailable: could not be checked."),
        **UNREADABLE,
    },
)
