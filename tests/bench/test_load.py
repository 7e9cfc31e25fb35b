from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import pytest

from bench.client import ask_all, post
from bench.load import Void, closed_loop, open_loop
from loadtests.generator.connections import Address
from loadtests.processes import RigError


@contextmanager
def _server(seconds: float = 0.0, status: int = 200) -> Iterator[Address]:
    """A server that returns what it gets, after some time."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)  # a slow server is what is tested
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield "127.0.0.1", server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_answers_come_in_the_order_of_the_requests() -> None:
    """However many connections there are, and however large a body is."""
    bodies = [b"%d" % number * (1 + number * 1000) for number in range(40)]
    with _server() as address:
        answers = ask_all(address, [post("/", body) for body in bodies], connections=4)
    assert answers == [(200, body) for body in bodies]


def test_latency_counts_from_the_intended_moment() -> None:
    """A slow server cannot slow down the questions: those that wait for it count their wait."""
    with _server(seconds=0.02) as address:
        try:
            got = open_loop(
                address,
                [post("/", b"x")],
                rate=100,
                seconds=0.5,
                random=Random(1),
                connections=1,
            )
        except Void as void:
            pytest.skip(f"this machine is too busy for an open loop: {void}")
    # About 50 questions at 20 ms each through one connection take a second.
    assert got.percentile(0.99) > 0.2
    assert got.percentile(0.0) > 0.019


def test_wrong_answers_end_a_run() -> None:
    """A load test fails on any answer that is not the expected one."""
    with _server() as address:
        got = closed_loop(address, [post("/", b"good")], b"good", seconds=0.1, connections=2)
        assert got.answers > 0
        with pytest.raises(RigError, match="bad"):
            closed_loop(address, [post("/", b"bad")], b"good", seconds=0.1, connections=2)
    with _server(status=503) as address, pytest.raises(RigError, match="503"):
        open_loop(address, [post("/", b"x")], rate=100, seconds=0.1, random=Random(1))
