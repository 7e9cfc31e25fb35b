"""``POST /v1/verify/batch``: many questions in one body, one result each, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from aiohttp import web

from verifier.api.server.body import refuse_compressed
from verifier.api.server.guard import caller_of
from verifier.api.server.route import Route
from verifier.api.server.shapes import LANGUAGE, LIMITED, OVERLOADED, UNREADABLE, Content, Operation
from verifier.api.server.slots import Slots
from verifier.api.verify.bulk import Counts, Resources
from verifier.api.verify.charging import charge
from verifier.api.verify.parameters import TIMEOUT, TOKEN
from verifier.api.verify.timeouts import timeout_of
from verifier.invoice.claim import Item
from verifier.pacing import Pace
from verifier.state import Position
from verifier.wire import schemas
from verifier.wire.batches import read_batch
from verifier.wire.questions import Batch


class Batches:
    """Answers batches. One has its slot from when its body is there until its answer is written."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._counts = Counts(resources.metrics, resources.usage, resources.noticing, "batch")
        self._slots = Slots("batch", resources.requests.max_batches, resources.metrics)

    def route(self) -> Route:
        """The route of these requests."""
        return Route(
            "POST",
            "/v1/verify/batch",
            "batch",
            self.batch,
            OPERATION,
            scope="verify",
            cost="items",
        )

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """Many questions in one body."""
        resources, bounds = self._resources, self._resources.requests
        caller = caller_of(request)
        within = timeout_of(request, bounds.batch_timeout)
        if resources.veil.of(caller) is not None:
            # What is answered in a short time and what is not would tell what was read.
            within = bounds.batch_timeout
        deadline = resources.clock() + within
        refuse_compressed(request)
        # Before the body too: what is refused anyway need not be sent.
        with ExitStack() as stack:
            with self._counts.offered.unless_refused(request):
                resources.admission.check_bulk()
                self._slots.check()
                body = await resources.bodies.read(request, bounds.max_batch_body, bulk=True)
                stack.enter_context(self._slots.take())
            await resources.turns.next()
            pace = Pace(resources.turns)
            items = await read_batch(body, bounds.max_batch_items, bounds.max_line, resources.turns)
            await pace.give_way()
            # Nothing of the question is needed while the client reads the answer.
            del body
            at_least = resources.at_least(request)
            charge(caller, len(items))
            blocks = await self._results(request, items, at_least, deadline)
            del items
            return await resources.responder.parts(request, "batch", blocks, caller)

    async def _results(
        self,
        request: web.Request,
        items: Sequence[Item],
        at_least: Position | None,
        deadline: float,
    ) -> list[bytes]:
        encode = self._resources.encoder.encode_results
        bulk = self._resources.bulk(
            self._counts, request, at_least=at_least, encode=encode, deadline=deadline
        )
        blocks = [b'{"results":[']
        blocks += [block async for block in bulk.answer(items, duplicates=True)]
        await bulk.settle()
        blocks.append(b'],"summary":%b}' % bulk.summary())
        return blocks


OPERATION = Operation(
    "Ask about up to 10,000 invoices",
    parameters=(TOKEN, LANGUAGE, TIMEOUT),
    body=Content(Batch),
    responses={
        200: Content(schemas.BatchAnswer, "One result per item, in order."),
        **UNREADABLE,
        **LIMITED,
        **OVERLOADED,
    },
)
