"""What a service says of itself, second by second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic, sleep

import pytest

from loadtests.watching import Watch, quantile


@contextmanager
def telling(*texts: bytes, status: int = 200) -> Iterator[HTTPServer]:
    """A server that answers scrapes with one text after the other, the last one again and again."""
    left = list(texts)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def watched(server: HTTPServer, seconds: int) -> Watch:
    """What was seen in so many seconds."""
    address = "127.0.0.1", server.server_port
    with Watch(address, monotonic() + 0.1, dict) as watch:
        ended = monotonic() + 10
        while len(watch.seconds) < seconds and monotonic() < ended:
            sleep(0.02)
    return watch


def lookups(hits: int) -> bytes:
    """A scrape with so many hits, half of each worker."""
    name = b"verifier_cache_lookups_total"
    return (
        b"# TYPE verifier_cache_lookups counter\n"
        b'%b{outcome="hit",worker="1"} %d\n%b{outcome="hit",worker="2"} %d\n'
        % (name, hits // 2, name, hits - hits // 2)
    )


def test_counters_are_told_by_what_came() -> None:
    """Two scrapes differ by the hits of the second between them, of all workers."""
    with telling(lookups(10), lookups(17)) as server:
        watch = watched(server, 1)
    assert watch.seconds[0].cache_hits == 7


@pytest.mark.parametrize(
    ("text", "status"),
    [(b"<html>not found</html>", 200), (b"\xff\xfe", 200), (lookups(1), 503)],
)
def test_what_is_no_scrape_is_missed(text: bytes, status: int) -> None:
    """Something else answers there, or with an error: the seconds go on, without its numbers."""
    with telling(text, status=status) as server:
        watch = watched(server, 2)
    assert watch.seconds[1].resident_bytes is None
    assert watch.seconds[1].cache_hits is None


def test_quantiles_are_upper_ends() -> None:
    """Of ten that came between two scrapes the ninth ends its bucket; infinity is no end."""
    before = {0.1: 5.0, 1.0: 5.0, float("inf"): 5.0}
    after = {0.1: 13.0, 1.0: 14.0, float("inf"): 15.0}
    assert quantile(before, after, 0.8) == 0.1
    assert quantile(before, after, 0.9) == 1.0
    assert quantile(before, after, 1.0) == 1.0
    assert quantile(after, after, 0.5) == 0.0
