"""Durations by endpoint and outcome."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from verifier.api.server.readers import Readers
from verifier.api.server.respond import Responder
from verifier.api.server.timing import timed
from verifier.metrics import Metrics
from verifier.pacing import Turns


def outcomes(metrics: Metrics) -> dict[str, float]:
    """How many durations there are by outcome."""
    (family,) = metrics.requests.collect()
    return {
        sample.labels["outcome"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_count") and sample.value
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "answered"),
        (422, "invalid"),
        (400, "refused"),
        (429, "refused"),
        (503, "unavailable"),
        (500, "failed"),
    ],
)
async def test_e27_durations_by_outcome(status: int, outcome: str) -> None:
    """What came of a request is told by its status."""
    metrics = Metrics()

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status)

    await timed(metrics.requests, "verify", handler)(make_mocked_request("POST", "/"))
    assert outcomes(metrics) == {outcome: 1.0}


async def test_e27_a_ready_answer_is_answered() -> None:
    """The response that is bytes already counts as any other."""
    metrics = Metrics()

    async def handler(request: web.Request) -> web.StreamResponse:
        return Responder(lambda: 0.0, Readers(1.0, metrics, 256), Turns(), 1_000).json(
            request, b"{}"
        )

    await timed(metrics.requests, "verify", handler)(make_mocked_request("POST", "/"))
    assert outcomes(metrics) == {"answered": 1.0}


@pytest.mark.parametrize("error", [asyncio.CancelledError, ConnectionResetError, ZeroDivisionError])
async def test_e27_no_answer_is_cut(error: type[BaseException]) -> None:
    """A handler that ends without a response is timed too, and its error goes on."""
    metrics = Metrics()

    async def handler(_: web.Request) -> web.Response:
        raise error

    with pytest.raises(error):
        await timed(metrics.requests, "verify", handler)(make_mocked_request("POST", "/"))
    assert outcomes(metrics) == {"cut": 1.0}


async def test_e27_the_time_is_the_handlers() -> None:
    """A handler's waiting is in the sum, in seconds."""
    metrics = Metrics()

    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response()

    await timed(metrics.requests, "verify", handler)(make_mocked_request("POST", "/"))
    assert 0.05 <= metrics.requests.cell("verify", "answered").total < 5.0
