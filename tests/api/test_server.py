"""Connections that are lost, and how many of them the limit of open files allows."""

from __future__ import annotations

import resource

import pytest
from structlog.testing import capture_logs

from tests.api.twins import Line, Side, rounds
from verifier.api.server.readers import as_lost
from verifier.api.server.server import OTHER_FILES, affordable_connections


@pytest.mark.parametrize("error", [OSError(113, "no route"), TimeoutError(110, "timed out")])
def test_d24_whatever_the_network_says_a_connection_is_lost(error: OSError) -> None:
    """Who reads or writes is told in one way, whose cause is what the network said."""
    lost = as_lost(error)
    assert isinstance(lost, ConnectionError)
    assert lost.__cause__ is error
    reset = ConnectionResetError()
    assert as_lost(reset) is reset
    assert as_lost(None) is None


@pytest.mark.parametrize("path", ["/v1/verify", "/nowhere"])
@pytest.mark.parametrize("turns", range(12))
async def test_who_goes_within_a_body_is_nobody_s_fault(turns: int, path: str) -> None:
    """Whatever of the request has begun by then, or is over but for the rest of the body."""
    side = Side(1_000)
    await side.start()
    line = Line(side)
    await rounds(2)
    line.protocol.data_received(
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{" % path.encode()
    )
    await rounds(turns)
    line.closed = True
    with capture_logs() as logged:
        line.protocol.connection_lost(None)
        await rounds(20)
    await side.runner.cleanup()
    assert not logged
    assert side.value("verifier_http_errors_total", route="server", code="internal") == 0


@pytest.mark.parametrize(("gone", "lines"), [(True, 0), (False, 1)])
async def test_what_a_client_that_is_gone_leaves_is_not_logged(gone: bool, lines: int) -> None:
    """A fuzzer saw it in the rest of a body; whatever else it is has to be told."""
    side = Side(1_000)
    await side.start()
    line = Line(side)
    line.closed = gone
    with capture_logs() as logged:
        line.protocol.log_exception("", exc_info=ConnectionResetError("the client is gone"))
    assert len(logged) == lines
    await side.runner.cleanup()


@pytest.mark.parametrize(
    ("soft", "hard", "affordable", "now"),
    [
        (100_000, 100_000, 10_000, 100_000),
        (1_024, 100_000, 10_000, 11_250 + OTHER_FILES),
        (1_024, resource.RLIM_INFINITY, 10_000, 11_250 + OTHER_FILES),
        (1_024, 4_096, 3_185, 4_096),
        (256, 256, 128, 256),
    ],
    ids=["enough", "raised", "no hard limit", "hard limit", "tiny"],
)
def test_connections_fit_the_limit_of_open_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, affordable: int, now: int
) -> None:
    """The soft limit is raised as far as need be and may be; what then fits is allowed.

    An eighth more may be open for a moment, since clients that are turned away linger.
    """
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    assert affordable_connections(10_000) == affordable
    assert limits[-1] == (now, hard)
