"""Discreet questions: who asks one does not learn whether an invoice is there that differs."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.engine.desk import ABSENT, Desk, item_of
from tests.invoice.samples import DIGITAL, NOON, Given
from verifier.engine.verifier import Asked
from verifier.errors import Unavailable
from verifier.invoice.verdict import Answer, Judgement
from verifier.pacing import Pace, Turns
from verifier.state import Position
from verifier.wire.answers import Encoder

WAYS = ["verify", "at a position", "soon", "many"]

# A question that the ledger contradicts, and the same about an invoice that it has not.
DIFFERS = DIGITAL.minimal() | {"total": "1.00", "reference": "r"}
UNKNOWN = ABSENT.minimal() | {"total": "1.00", "reference": "r"}


async def ask(desk: Desk, given: Given, way: str) -> Judgement:
    """The answer to a discreet question, whichever way it takes."""
    item, verifier = item_of(given), desk.verifier
    if way == "verify":
        return (await verifier.verify(item, discreet=True)).hinted()
    if way == "at a position":
        position = Position(1, desk.ledger.lsn)
        return (await verifier.verify(item, at_least=position, discreet=True)).hinted()
    if way == "soon":
        read: asyncio.Future[Asked] = asyncio.get_running_loop().create_future()
        answer: Answer | None = verifier.verify_soon(item, read.set_result, discreet=True)
        return (answer or (await read).answer()).hinted()
    blocks = verifier.verify_many([item], discreet=True, pace=Pace(Turns()))
    (answered,) = [answer async for block in blocks for answer in block.answers]
    return answered.hinted()


def shown(answer: Judgement) -> bytes:
    """All that a caller gets of it; each answer is the first of an encoder of its own."""
    return msgspec.json.encode(Encoder("").members(answer, "en"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("watermark", "verdict"), [(NOON, "not_found"), (NOON - 400 * 86_400, "pending")]
)
async def test_a_mismatch_is_told_as_an_absence(
    way: str, warm: bool, watermark: float, verdict: str
) -> None:
    """Byte for byte, from memory and from a read, whichever way it is asked."""
    desk = Desk(DIGITAL)
    desk.ledger.watermarks = {"1100": watermark}
    if warm:
        for given in (DIFFERS, UNKNOWN):
            await ask(desk, given, "verify")
    differs, unknown = await ask(desk, DIFFERS, way), await ask(desk, UNKNOWN, way)
    assert (differs.verdict, unknown.verdict) == (verdict, verdict)
    assert shown(differs) == shown(unknown)
    assert differs.mismatched == ()


@pytest.mark.parametrize("way", WAYS)
async def test_a_match_is_told_whole(way: str) -> None:
    """Who asks knows the invoice; where the answer comes from may be told."""
    desk = Desk(DIGITAL)
    for _ in range(2):
        answer = await ask(desk, DIGITAL.minimal(), way)
        assert answer.verdict == "match"
        assert answer.record is not None
        assert answer.reading is not None
        assert answer.source


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_malformed_is_told_as_such(way: str) -> None:
    """No ledger is asked for that."""
    desk = Desk(DIGITAL)
    answer = await ask(desk, DIFFERS | {"total": "x"}, way)
    assert answer.verdict == "invalid"
    assert answer.errors[0].field == "total"


@pytest.mark.parametrize("way", WAYS)
async def test_without_a_ledger_neither_is_told(way: str) -> None:
    """Both could not be checked, in the same bytes."""
    desk = Desk(DIGITAL)
    desk.ledger.down = Unavailable("no_database", 7)
    differs, unknown = await ask(desk, DIFFERS, way), await ask(desk, UNKNOWN, way)
    assert differs.verdict == "unavailable"
    assert shown(differs) == shown(unknown)


async def test_others_are_told_the_mismatch() -> None:
    """That a question was discreet leaves nothing in memory."""
    desk = Desk(DIGITAL)
    await ask(desk, DIFFERS, "verify")
    answer = await desk.ask(DIFFERS)
    assert (answer.verdict, answer.mismatched) == ("mismatch", ("total",))
    assert answer.reading is not None
