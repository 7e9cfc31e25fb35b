"""How long requests take, by endpoint and by what came of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from aiohttp import web

from verifier.metrics import Histogram
from verifier.metrics.cells import Distribution

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# The status that proxies log when a client went before its answer; never sent.
CLIENT_GONE = 499

_OUTCOMES = {200: "answered", 422: "invalid", 503: "unavailable", CLIENT_GONE: "cut"}


class _ByStatus(dict[int, Distribution]):
    """The distributions of one endpoint by HTTP status, each made at its first use."""

    def __init__(self, histogram: Histogram, endpoint: str) -> None:
        self._histogram = histogram
        self._endpoint = endpoint

    def __missing__(self, status: int) -> Distribution:
        outcome = _OUTCOMES.get(status) or ("refused" if status < 500 else "failed")
        cell = self[status] = self._histogram.cell(self._endpoint, outcome)
        return cell


def timed(histogram: Histogram, endpoint: str, handler: Handler) -> Handler:
    """The handler, with its time observed in a histogram with the labels endpoint and outcome."""
    by_status = _ByStatus(histogram, endpoint)
    cut = histogram.cell(endpoint, "cut")

    async def timed_handler(request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        outcome = cut
        try:
            response = await handler(request)
            outcome = by_status[response.status]
        finally:
            outcome.observe(perf_counter() - started)
        return response

    return timed_handler
