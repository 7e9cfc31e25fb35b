"""Loading in transactions, with a writer made by hand."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from verifier.cli import loading
from verifier.cli.loading import TRIES, LoadError, Loading
from verifier.errors import Unavailable
from verifier.invoice.fields import FieldError
from verifier.ledger.ingest.chunks import Blocks, IngestResult, Rejection
from verifier.state import Position


class FakeWriter:
    """Accepts all lines but ``bad`` ones, of which it names the first only; fails when told."""

    def __init__(self, failures: Iterable[str] = ()) -> None:
        self.failures = list(failures)
        self.transactions: list[list[bytes]] = []

    async def ingest(self, blocks: Blocks) -> IngestResult:
        """Take a transaction, or fail after having read it."""
        lines = [line async for block in blocks if block is not None for line in block.split(b"\n")]
        if self.failures:
            raise Unavailable(self.failures.pop(0), retry_after=3)
        self.transactions.append(lines)
        bad = [number for number, line in enumerate(lines, 1) if line == b"bad"]
        named = [Rejection(number, (FieldError("", "bad_format"),)) for number in bad[:1]]
        return IngestResult(len(lines) - len(bad), 0, named, len(bad), Position(1, 1))


class Rig:
    """Loads, and notes what it is told."""

    def __init__(self, writer: FakeWriter) -> None:
        self.taken = [0, 0]
        self.rejected: list[int] = []
        self.waits: list[float] = []
        self.loading = Loading(
            writer,
            65_536,
            taken=self._take,
            rejected=lambda rejection: self.rejected.append(rejection.line),
            sleep=self._sleep,
        )

    def _take(self, lines: int, size: int) -> None:
        self.taken[0] += lines
        self.taken[1] += size

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_line_numbers_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected lines have their number in the whole, and none is left out."""
    monkeypatch.setattr(loading, "TRANSACTION_BYTES", 4)
    writer = FakeWriter()
    rig = Rig(writer)
    await rig.loading.load([b"{}\nbad", b"bad\n{}", b"", b"bad\nbad\nbad"])
    assert [len(lines) for lines in writer.transactions] == [2, 2, 4]
    # The fake writer names one of three; all three are found, and so are lines that it accepted.
    assert rig.rejected == [2, 3, 6, 7, 8]
    assert rig.loading.totals == loading.Totals(lines=8, accepted=3, rejected=5)
    assert rig.taken == [8, 29 - 3 + 1]


async def test_transactions_are_tried_again() -> None:
    """A transaction that fails is tried again after the time named, and counted once."""
    writer = FakeWriter(["no_database", "conflict"])
    rig = Rig(writer)
    await rig.loading.load([b"a\nb"])
    assert writer.transactions == [[b"a", b"b"]]
    assert rig.waits == [3, 3]
    assert rig.taken == [2, 4]
    assert rig.loading.totals.accepted == 2


async def test_gives_up_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last try the error says why, and how many lines are in."""
    monkeypatch.setattr(loading, "TRANSACTION_BYTES", 1)
    writer = FakeWriter()
    rig = Rig(writer)
    await rig.loading.load([b"a\nb"])
    writer.failures = ["no_database"] * TRIES
    with pytest.raises(LoadError, match=r"\(no_database\); 2 lines are in"):
        await rig.loading.load([b"c"])
    assert len(rig.waits) == TRIES - 1


async def test_missing_schema_is_not_waited_for() -> None:
    """A database without the schema is an error at once, which says what to do."""
    rig = Rig(FakeWriter(["no_schema"]))
    with pytest.raises(LoadError, match="run `verifier migrate`"):
        await rig.loading.load([b"a"])
    assert rig.waits == []
