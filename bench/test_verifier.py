"""Verifier: a thousand questions, one by one and at once, known to memory and not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.engine import make_verifier, repeated
from bench.samples import Case, questions
from verifier.metrics import Metrics
from verifier.pacing import Pace, Turns

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def cached() -> Callable[[], object]:
    """One after the other, all known: nothing waits."""
    verify, items = make_verifier(Metrics(), full=True).verify, questions()

    async def work() -> None:
        for item in items:
            await verify(item)

    return repeated(work)


def uncached() -> Callable[[], object]:
    """All at once, none known."""
    verify, items = make_verifier(Metrics(), full=False).verify, questions()

    async def work() -> None:
        await asyncio.gather(*(verify(item) for item in items))

    return repeated(work)


def _many(*, full: bool) -> Callable[[], object]:
    verify_many, items = make_verifier(Metrics(), full=full).verify_many, questions()

    async def work() -> None:
        async for _ in verify_many(items, duplicates=True, pace=Pace(Turns())):
            pass

    return repeated(work)


def many_cached() -> Callable[[], object]:
    """A batch, all known."""
    return _many(full=True)


def many_uncached() -> Callable[[], object]:
    """A batch, none known."""
    return _many(full=False)


CASES: dict[str, Case] = {
    "cached": cached,
    "uncached": uncached,
    "many-cached": many_cached,
    "many-uncached": many_uncached,
}


def test_verifier(benchmark: BenchmarkFixture, case: Case) -> None:
    """A thousand questions."""
    benchmark(case())
