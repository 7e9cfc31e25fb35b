"""Loader: a thousand callers at once, for keys of their own and for the same few."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.engine import make_loader, repeated
from bench.samples import Case, findings
from verifier.metrics import Metrics

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def _load(groups: list[list[str]], *, bulk: bool) -> Callable[[], object]:
    loader = make_loader(Metrics())

    async def work() -> None:
        await asyncio.gather(*(loader.load(group, bulk=bulk) for group in groups))

    return repeated(work)


def singles() -> Callable[[], object]:
    """Each asks for another key: batches form while all slots are taken."""
    return _load([[key] for key in findings()], bulk=False)


def shared() -> Callable[[], object]:
    """Ten keys, each asked for a hundred times: callers join one read."""
    return _load([[key] for key in list(findings())[:10]] * 100, bulk=False)


def bulk() -> Callable[[], object]:
    """One caller asks for all of them."""
    return _load([list(findings())], bulk=True)


CASES: dict[str, Case] = {"singles": singles, "shared": shared, "bulk": bulk}


def test_loader(benchmark: BenchmarkFixture, case: Case) -> None:
    """A thousand keys under contention."""
    benchmark(case())
