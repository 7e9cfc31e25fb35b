"""The boundary: what a handler raises becomes a response, a metric and, where need be, a log line.

Every route gets it where routes are registered. An exception that nobody foresaw passes through to
the connection (connection.py), which knows whether part of an answer was sent already: there it
becomes a 500 with an id that the log has too.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from aiohttp import ClientPayloadError, web

from verifier.access.callers import Caller
from verifier.api.server import problems
from verifier.api.server.body import compressed
from verifier.api.server.guard import Guard, caller_of
from verifier.api.server.readers import CLIENT_GONE, Cut, Readers, SlowReader, is_gone
from verifier.api.server.route import Handler, Route
from verifier.errors import BadRequest, Unavailable
from verifier.metrics import Metrics
from verifier.metrics.cells import Distribution
from verifier.tracebacks import drop_frames

_OUTCOMES = {200: "answered", 422: "invalid", 503: "unavailable", CLIENT_GONE: "cut"}


class Boundary:
    """Goes around the handlers of routes.

    ``used`` hears of callers whose requests were not refused; None without keys.
    """

    def __init__(
        self,
        metrics: Metrics,
        readers: Readers,
        guard: Guard,
        used: Callable[[Caller | None], None] | None = None,
    ) -> None:
        self._metrics = metrics
        self._readers = readers
        self._guard = guard
        self._used = used

    def around(self, route: Route) -> Handler:
        """The handler of a route, with all that it may raise on purpose turned into responses.

        Requests are guarded first, and timed unless they cost nothing. Plain responses are written
        within the bounds on clients that read slowly.
        """
        handler, written = route.handler, self._readers.written
        check = self._guard.check_of(route)
        used = self._used if route.scope is not None else None
        outcomes = _Outcomes(self._distribution_of(route))
        cut = outcomes[CLIENT_GONE]

        async def answer(request: web.Request) -> web.StreamResponse:
            started = perf_counter()
            outcome = cut
            try:
                try:
                    if check is not None:
                        check(request)
                    response = await handler(request)
                    if used is not None:
                        used(caller_of(request))
                except (BadRequest, Unavailable) as error:
                    response = self._refused(request, route, error)
                except (ConnectionError, ClientPayloadError) as error:
                    if not is_gone(request.transport) and not isinstance(error, SlowReader):
                        # The client is there: this is a fault of ours.
                        raise
                    response = self._gone(route, error)
                # Not isinstance: aiohttp's responses are mappings, which takes Python's long way.
                if type(response) is web.Response:
                    response = await written(request, route.name, response)
                outcome = outcomes[response.status]
            finally:
                outcome.observe(perf_counter() - started)
            return response

        return answer

    def _refused(
        self, request: web.Request, route: Route, error: BadRequest | Unavailable
    ) -> web.Response:
        # A compressed body reads as garbage, since it is not unpacked; say so rather than that.
        if error.code == "malformed_json" and compressed(request):
            error = BadRequest("content_encoding", "expected a body without Content-Encoding")
        self._metrics.http_errors.add(route.name, error.code)
        return problems.of_error(request, error)

    def _gone(self, route: Route, error: ConnectionError | ClientPayloadError) -> Cut:
        """The client is gone, or was cut off, which is counted already: there is nobody to tell."""
        if not isinstance(error, SlowReader):
            self._metrics.http_errors.add(route.name, "client_gone")
        drop_frames(error)
        return Cut()

    def _distribution_of(self, route: Route) -> Callable[[str], Distribution]:
        if route.cost == "nothing":
            unseen = Distribution(())
            return lambda _: unseen
        return lambda outcome: self._metrics.requests.cell(route.name, outcome)


class _Outcomes(dict[int, Distribution]):
    """The distributions of one endpoint's times by HTTP status, each made at its first use."""

    def __init__(self, distribution_of: Callable[[str], Distribution]) -> None:
        self._distribution_of = distribution_of

    def __missing__(self, status: int) -> Distribution:
        outcome = _OUTCOMES.get(status) or ("refused" if status < 500 else "failed")
        cell = self[status] = self._distribution_of(outcome)
        return cell
