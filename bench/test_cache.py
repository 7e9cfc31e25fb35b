"""Cache: a thousand hits, misses and puts, beside cachetools' LRUCache and a plain dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from bench.samples import Case, findings
from verifier.engine.cache import Cache

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def _gets(kept: Any) -> Callable[[], object]:
    known = findings()
    for key, finding in known.items():
        kept[key] = finding
    keys, get = list(known), kept.get
    return lambda: [get(key) for key in keys]


def get() -> Callable[[], object]:
    """Hits on hot entries."""
    known = findings()
    kept: Cache[Any] = Cache(4 * len(known))
    for key, finding in known.items():
        kept.put(key, finding)
    keys, get = list(known), kept.get
    return lambda: [get(key) for key in keys]


def get_lru() -> Callable[[], object]:
    """The same from cachetools."""
    return _gets(LRUCache(4 * len(findings())))


def get_dict() -> Callable[[], object]:
    """The same from a dict that forgets nothing."""
    return _gets({})


def put() -> Callable[[], object]:
    """New entries into a full cache: each forgets another one."""
    known = findings()
    kept: Cache[Any] = Cache(len(known) // 2)
    pairs = list(known.items())

    def work() -> None:
        for key, finding in pairs:
            kept.put(key, finding)

    return work


def put_lru() -> Callable[[], object]:
    """The same with cachetools."""
    known = findings()
    kept: LRUCache[str, Any] = LRUCache(len(known) // 2)
    pairs = list(known.items())

    def work() -> None:
        for key, finding in pairs:
            kept[key] = finding

    return work


CASES: dict[str, Case] = {
    "get": get,
    "get-lru": get_lru,
    "get-dict": get_dict,
    "put": put,
    "put-lru": put_lru,
}


def test_cache(benchmark: BenchmarkFixture, case: Case) -> None:
    """Hits and puts of a thousand entries."""
    benchmark(case())
