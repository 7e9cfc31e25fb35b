"""What a handler raises becomes a response, a metric and a time, in one place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from verifier.api.server.boundary import Boundary
from verifier.api.server.guard import Guard
from verifier.api.server.readers import CLIENT_GONE, Readers, SlowReader
from verifier.api.server.respond import Responder
from verifier.api.server.route import Cost, Handler, Route
from verifier.api.server.shapes import Operation
from verifier.config import Access, Answers
from verifier.errors import BadRequest, Unavailable
from verifier.metrics import Metrics
from verifier.pacing import Turns


def around(metrics: Metrics, handler: Handler, cost: Cost = "one") -> Handler:
    """The handler as that of a route called verify."""
    route = Route("POST", "/", "verify", handler, Operation("", {}), cost=cost)
    return Boundary(metrics, Readers(Answers(), metrics), Guard(Access(), None)).around(route)


def outcomes(metrics: Metrics) -> dict[str, float]:
    """How many durations there are by outcome."""
    (family,) = metrics.requests.collect()
    return {
        sample.labels["outcome"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_count") and sample.value
    }


def errors(metrics: Metrics) -> dict[str, float]:
    """How many requests were refused as a whole, by code."""
    (family,) = metrics.http_errors.collect()
    return {sample.labels["code"]: sample.value for sample in family.samples}


def request(**headers: str) -> web.Request:
    """A request whose client is there, and takes in what is written to it."""
    transport = mock.Mock(get_write_buffer_size=lambda: 0, is_closing=lambda: False)
    return make_mocked_request("POST", "/", headers=headers, transport=transport)


def raising(error: BaseException) -> Handler:
    """A handler that fails."""

    async def handler(_: web.Request) -> web.StreamResponse:
        raise error

    return handler


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

    await around(metrics, handler)(request())
    assert outcomes(metrics) == {outcome: 1.0}
    assert errors(metrics) == {}


async def test_e27_a_ready_answer_is_answered() -> None:
    """The response that is bytes already counts as any other."""
    metrics = Metrics()

    async def handler(request: web.Request) -> web.StreamResponse:
        return Responder(lambda: 0.0, Readers(Answers(), metrics), Turns(), 1_000).json(
            request, b"{}"
        )

    await around(metrics, handler)(request())
    assert outcomes(metrics) == {"answered": 1.0}


@pytest.mark.parametrize(
    ("error", "status", "code", "outcome"),
    [
        (BadRequest("malformed_json", "no"), 400, "malformed_json", "refused"),
        (BadRequest("invalid_watermark", "no"), 422, "invalid_watermark", "invalid"),
        (Unavailable("overloaded"), 503, "unavailable", "unavailable"),
    ],
)
async def test_a_refusal_is_a_problem_that_is_counted(
    error: BadRequest | Unavailable, status: int, code: str, outcome: str
) -> None:
    """Its status is that of its code, and it is counted once, with the route."""
    metrics = Metrics()
    response = await around(metrics, raising(error))(request())
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    assert (response.status, json.loads(response.body)["code"]) == (status, code)
    assert (errors(metrics), outcomes(metrics)) == ({code: 1.0}, {outcome: 1.0})


async def test_a_refusal_has_its_own_members_and_headers() -> None:
    """What a handler knows beyond the code goes with it."""
    metrics = Metrics()
    error = BadRequest("method_not_allowed", "no", members={"more": 1}, headers={"Allow": "GET"})
    response = await around(metrics, raising(error))(request())
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["more"] == 1
    assert response.headers["Allow"] == "GET"


async def test_what_is_compressed_is_said_to_be() -> None:
    """It reads as garbage, since it is not unpacked."""
    metrics = Metrics()
    handler = around(metrics, raising(BadRequest("malformed_json", "garbage")))
    response = await handler(request(**{"Content-Encoding": "gzip"}))
    assert (response.status, errors(metrics)) == (415, {"content_encoding": 1.0})


@pytest.mark.parametrize("transport", [None, mock.Mock(is_closing=lambda: True)])
async def test_a_client_that_is_gone_is_no_error_of_ours(transport: mock.Mock | None) -> None:
    """Nothing is written to it, and it is counted; its transport is there for a moment longer."""
    metrics, error = Metrics(), ConnectionResetError()
    gone = mock.Mock(transport=transport)
    response = await around(metrics, raising(error))(gone)
    assert response.status == CLIENT_GONE
    assert (errors(metrics), outcomes(metrics)) == ({"client_gone": 1.0}, {"cut": 1.0})
    assert error.__traceback__ is None


async def test_a_client_that_was_cut_off_is_not_counted_twice() -> None:
    """Whoever cut it off has counted it, by the reason."""
    metrics = Metrics()
    response = await around(metrics, raising(SlowReader()))(request())
    assert (response.status, errors(metrics)) == (CLIENT_GONE, {})


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, ZeroDivisionError, ConnectionRefusedError]
)
async def test_e27_what_nobody_foresaw_goes_on_and_is_timed(error: type[BaseException]) -> None:
    """The connection answers it, also when it looks like a client that is gone and is not."""
    metrics = Metrics()
    with pytest.raises(error):
        await around(metrics, raising(error()))(request())
    assert outcomes(metrics) == {"cut": 1.0}


def _ten_milliseconds() -> Callable[[], float]:
    times = iter((1.0, 1.01))
    return lambda: next(times)


async def test_e27_the_time_is_the_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when it is called until its response is there, in seconds."""
    metrics = Metrics()

    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    monkeypatch.setattr("verifier.api.server.boundary.perf_counter", _ten_milliseconds())
    await around(metrics, handler)(request())
    assert metrics.requests.cell("verify", "answered").total == pytest.approx(0.01)


async def test_what_costs_nothing_is_not_timed() -> None:
    """Health and documents would drown what the latency budget is about."""
    metrics = Metrics()

    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    await around(metrics, handler, cost="nothing")(request())
    assert outcomes(metrics) == {}
