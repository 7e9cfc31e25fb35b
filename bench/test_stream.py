"""Stream: a chunk of a thousand lines, known to memory, from bytes to bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.engine import make_verifier, repeated
from bench.samples import Case, bodies
from verifier.api import codec
from verifier.api.handlers import Bulk, Counts
from verifier.api.turns import Turns
from verifier.metrics import Metrics

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def chunk() -> Callable[[], object]:
    """Decode, verify, encode, join."""
    metrics = Metrics()
    verifier = make_verifier(metrics, full=True)
    encoder, counts = codec.Encoder("0123456789ab"), Counts(metrics, "stream")
    block = b"\n".join(bodies())

    async def work() -> None:
        bulk = Bulk(verifier, encoder, counts, Turns(), "zh", at_least=None, after=b"\n")
        # None would be a block that is not plain.
        async for _ in bulk.answer(codec.decode_lines(block) or ()):
            pass

    return repeated(work)


CASES: dict[str, Case] = {"chunk": chunk}


def test_stream(benchmark: BenchmarkFixture, case: Case) -> None:
    """A thousand lines."""
    benchmark(case())
