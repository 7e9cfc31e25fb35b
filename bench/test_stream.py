"""Stream: lines that are known to memory, from bytes to bytes: decode, verify, encode, join."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.engine import make_verifier, repeated
from bench.samples import Case, bodies
from verifier.access.noticing import Noticing
from verifier.access.usage import Usage
from verifier.api.verify.bulk import Bulk, Counts
from verifier.metrics import Metrics
from verifier.pacing import Turns
from verifier.wire import answers
from verifier.wire import batches as reading

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def _lines(times: int) -> Callable[[], object]:
    """A block of so many thousand lines."""
    metrics = Metrics()
    verifier = make_verifier(metrics, full=True)
    turns = Turns()
    encode, counts = (
        answers.Encoder("0123456789ab").encode_lines,
        Counts(metrics, Usage(lambda: 0.0), Noticing(lambda: 0.0, metrics), "stream"),
    )
    block = b"\n".join(bodies() * times)

    async def work() -> None:
        bulk = Bulk(verifier, encode, counts, turns, "zh", at_least=None)
        async for _ in bulk.answer(await reading.read_lines(block, turns)):
            pass

    return repeated(work)


def chunk() -> Callable[[], object]:
    """A thousand lines."""
    return _lines(1)


def large() -> Callable[[], object]:
    """Five thousand lines: as many as a fast client may have sent ahead."""
    return _lines(5)


CASES: dict[str, Case] = {"chunk": chunk, "large": large}


def test_stream(benchmark: BenchmarkFixture, case: Case) -> None:
    """Thousands of lines."""
    benchmark(case())
