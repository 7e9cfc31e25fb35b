"""The verifier: in which order it judges, what it believes of its memory, and for how long."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest

from tests.engine.desk import ABSENT, Desk, item_of
from tests.invoice.samples import DIGITAL, NOON, PAPER, Given, Sample, told_by
from verifier.engine.lanes import Limits
from verifier.errors import Unavailable
from verifier.invoice.claim import Invalid
from verifier.invoice.fields import FieldError
from verifier.pacing import Pace, Turns
from verifier.state import Live, Position

# -- the order of judgement


async def test_malformed_comes_before_unavailable() -> None:
    """A malformed question is invalid although the ledger cannot be reached."""
    desk = Desk()
    desk.ledger.down = Unavailable("no_database")
    for given in (
        DIGITAL.minimal() | {"total": "x"},
        DIGITAL.minimal() | {"date": "2026-11-25"},
        {"number": DIGITAL.number},
        {"number": "1"},
        DIGITAL.minimal() | {"chek_code": "1"},
    ):
        answer = await desk.ask(given | {"reference": "r"})
        assert (answer.verdict, answer.reference, answer.key) == ("invalid", "r", "")
        assert answer.errors
        assert answer.reading is None
    many = await desk.ask_many(DIGITAL.minimal() | {"total": "x"}, DIGITAL.minimal())
    assert [answer.verdict for answer in many] == ["invalid", "unavailable"]


async def test_what_is_no_object_is_invalid() -> None:
    """An item that was already refused by the decoder stays refused, among others too."""
    desk = Desk(DIGITAL)
    refused = Invalid((FieldError("", "bad_format", "JSON object"),), ())
    assert (await desk.verifier.verify(refused)).hinted().errors == refused.errors
    blocks = desk.verifier.verify_many(
        [refused, item_of(DIGITAL.minimal()), refused], pace=Pace(Turns())
    )
    verdicts = [answer.verdict async for block in blocks for answer in block.answers]
    assert verdicts == ["invalid", "match", "invalid"]


async def test_unavailable_comes_before_any_verdict_on_the_invoice() -> None:
    """Without the ledger nothing is found, missing or different: it could not be checked."""
    desk = Desk(DIGITAL)
    desk.ledger.down = Unavailable("no_database", 7)
    for given in (DIGITAL.minimal(), ABSENT.minimal(), DIGITAL.minimal() | {"total": "1"}):
        answer = await desk.ask(given | {"reference": "r", "date": "2026/3/1"})
        assert answer.verdict == "unavailable"
        assert (answer.reason, answer.retry_after, answer.reference) == ("no_database", 7, "r")
        assert [hint.code for hint in answer.hints] == ["repaired"]
        assert (answer.reading, answer.source, answer.record) == (None, "", None)


async def test_the_verdicts_of_a_checked_question() -> None:
    """Absent, then differing, then agreeing."""
    desk = Desk(DIGITAL)
    desk.ledger.watermarks = {"1100": NOON}
    assert (await desk.ask(ABSENT.minimal())).verdict == "not_found"
    differing = await desk.ask(DIGITAL.minimal() | {"total": "1", "date": "2026-03-02"})
    assert (differing.verdict, differing.mismatched) == ("mismatch", ("date", "total"))
    assert differing.record is None
    matching = await desk.ask(DIGITAL.minimal())
    assert matching.verdict == "match"
    assert told_by(matching.record) == told_by(DIGITAL.record())


async def test_a_key_that_the_ledger_left_out_could_not_be_checked() -> None:
    """A read that says nothing about a key makes it unavailable, and the others are answered."""
    desk = Desk(DIGITAL, PAPER)
    desk.ledger.left_out = {DIGITAL.key}
    answers = await desk.ask_many(DIGITAL.minimal(), PAPER.minimal())
    assert [answer.verdict for answer in answers] == ["unavailable", "match"]
    assert answers[0].reason == "unchecked"


async def test_what_was_taken_in_is_answered_in_full() -> None:
    """Items beyond the queue wait for room in it."""
    limits = Limits(slots=1, max_batch=4, waiting_singles=50, waiting_bulk=3, max_wait=1.0)
    desk = Desk(limits=limits)
    given = [Sample(number=f"2611200000000000001{digit}").minimal() for digit in range(6)]
    answers = await desk.ask_many(*given)
    assert [answer.verdict for answer in answers] == ["not_found"] * 6


# -- memory and freshness


async def test_sources() -> None:
    """An answer says how its caller came by it: replica, cache, joined or primary."""
    desk = Desk(DIGITAL)
    first, second = await asyncio.gather(desk.ask(DIGITAL.minimal()), desk.ask(DIGITAL.full()))
    assert (first.source, second.source) == ("replica", "joined")
    assert (await desk.ask(DIGITAL.minimal())).source == "cache"
    assert (await desk.ask(DIGITAL.minimal() | {"total": 113})).source == "cache"
    assert (await desk.ask(DIGITAL.minimal() | {"total": "1"})).source == "cache"
    later = Position(1, desk.ledger.lsn + 1)
    assert (await desk.ask(DIGITAL.minimal(), at_least=later)).source == "primary"
    assert desk.ledger.reads == [[DIGITAL.key]]


async def test_joined_holds_for_every_verdict() -> None:
    """Callers who share a read of an absent or differing invoice are told so too."""
    desk = Desk(DIGITAL)
    answers = await asyncio.gather(
        *(desk.ask(ABSENT.minimal()) for _ in range(2)),
        *(desk.ask(DIGITAL.minimal() | {"total": "1"}) for _ in range(2)),
    )
    assert [answer.source for answer in answers] == ["replica", "joined"] * 2


@pytest.mark.parametrize("given", [DIGITAL.minimal(), DIGITAL.minimal() | {"total": 113}])
async def test_memory_is_believed_until_the_staleness_bound(given: Given) -> None:
    """From the state's own time, not from when it was read, and not a moment longer."""
    desk = Desk(DIGITAL)
    desk.ledger.age = 0.5
    assert (await desk.ask(given)).source == "replica"
    desk.clock.now += 1.5
    answer = await desk.ask(given)
    assert answer.source == "cache"
    assert answer.reading is not None
    assert answer.reading.as_of == NOON - 0.5
    desk.clock.now += 0.001
    desk.ledger.put(Sample(status="voided"))
    answer = await desk.ask(given)
    assert answer.source == "replica"
    assert told_by(answer.record)["status"] == "voided"


@pytest.mark.parametrize(
    ("max_staleness", "absence_seconds", "believed"),
    [(2.0, 1.0, 1.0), (0.5, 1.0, 0.5), (2.0, 0.0, 0.0)],
)
async def test_absence_is_believed_for_a_shorter_time(
    max_staleness: float, absence_seconds: float, believed: float
) -> None:
    """Absence is remembered for absence_seconds, and never beyond the staleness bound."""
    desk = Desk(max_staleness=max_staleness, absence_seconds=absence_seconds)
    assert (await desk.ask(ABSENT.minimal())).source == "replica"
    desk.clock.now += believed
    assert (await desk.ask(ABSENT.minimal())).source == "cache"
    desk.clock.now += 0.001
    desk.ledger.put(ABSENT)
    answer = await desk.ask(ABSENT.minimal())
    assert (answer.verdict, answer.source) == ("match", "replica")


async def test_a_found_invoice_is_not_hidden_by_its_absence_before() -> None:
    """What was absent a moment ago and has been found since is found."""
    desk = Desk()
    await desk.ask(ABSENT.minimal())
    desk.clock.now += 1.5
    desk.ledger.put(ABSENT)
    for _ in range(2):
        assert (await desk.ask(ABSENT.minimal())).verdict == "match"


async def test_a_state_that_is_too_old_is_no_answer() -> None:
    """A reading beyond the staleness bound is unavailable, found or not."""
    desk = Desk(DIGITAL)
    desk.ledger.age = 2.0
    assert (await desk.ask(DIGITAL.minimal())).verdict == "match"
    desk = Desk(DIGITAL)
    desk.ledger.age = 2.001
    for given in (DIGITAL.minimal(), DIGITAL.minimal() | {"total": 113}, ABSENT.minimal()):
        answer = await desk.ask(given)
        assert (answer.verdict, answer.reason) == ("unavailable", "stale")
        assert answer.retry_after >= 1
    many = await desk.ask_many(DIGITAL.minimal(), ABSENT.minimal(), {"number": "1"})
    assert [answer.verdict for answer in many] == ["unavailable", "unavailable", "invalid"]


async def test_a_token_goes_past_an_older_memory() -> None:
    """A question that names a position sees a state that includes it, whatever memory holds."""
    desk = Desk(DIGITAL)
    await desk.ask_many(DIGITAL.minimal(), ABSENT.minimal())
    desk.ledger.put(Sample(status="red_flushed"), ABSENT)
    position = desk.ledger.position
    for given in (DIGITAL.minimal(), DIGITAL.minimal() | {"total": 113}):
        answer = await desk.ask(given, at_least=position)
        assert told_by(answer.record)["status"] == "red_flushed"
    answers = await desk.ask_many(ABSENT.minimal(), DIGITAL.minimal(), at_least=position)
    assert [answer.verdict for answer in answers] == ["match", "match"]
    assert [answer.source for answer in answers] == ["primary", "primary"]
    assert desk.ledger.reads_at[-1] == (sorted([DIGITAL.key, ABSENT.key]), position)


async def test_a_token_that_memory_shows_needs_no_read() -> None:
    """Memory answers if its state includes the position, on the same timeline."""
    desk = Desk(DIGITAL)
    await desk.ask_many(DIGITAL.minimal(), ABSENT.minimal())
    shown = desk.ledger.position
    for given in (DIGITAL.minimal(), DIGITAL.minimal() | {"total": 113}, ABSENT.minimal()):
        assert (await desk.ask(given, at_least=shown)).source == "cache"
    assert desk.ledger.reads_at == []
    other = Position(2, shown.lsn)
    assert (await desk.ask(DIGITAL.minimal(), at_least=other)).source == "primary"


@pytest.mark.parametrize("brownout", [0.0, 300.0])
async def test_a_token_gets_no_older_state(brownout: float) -> None:
    """When the position cannot be read the answer is unavailable, brown-out or not."""
    desk = Desk(DIGITAL, brownout=brownout)
    await desk.ask(DIGITAL.minimal())
    later = Position(1, desk.ledger.lsn + 1)
    desk.ledger.left_out = {DIGITAL.key}
    answer = await desk.ask(DIGITAL.minimal(), at_least=later)
    assert (answer.verdict, answer.reason) == ("unavailable", "unchecked")
    desk.ledger.down = Unavailable("no_primary")
    answer = await desk.ask(DIGITAL.minimal(), at_least=later)
    assert (answer.verdict, answer.reason) == ("unavailable", "no_primary")
    (answer,) = await desk.ask_many(DIGITAL.minimal(), at_least=later)
    assert (answer.verdict, answer.reason) == ("unavailable", "no_primary")
    assert (await desk.ask(DIGITAL.minimal())).source == "cache"


@pytest.mark.parametrize("named", [False, True])
async def test_a_deadline_goes_with_its_question(named: bool) -> None:
    """Alone or in bulk, with a token or without, the read is told until when it is awaited."""
    desk = Desk()
    at_least = Position(1, desk.ledger.lsn + 1) if named else None
    item, other = item_of(DIGITAL.minimal()), item_of(PAPER.minimal())
    deadline = desk.clock() + 0.5
    await desk.verifier.verify(item, at_least=at_least, deadline=deadline)
    async for _ in desk.verifier.verify_many(
        [other], at_least=at_least, deadline=deadline, pace=Pace(Turns())
    ):
        pass
    assert desk.ledger.deadlines == [deadline] * 2


async def test_after_its_deadline_a_question_is_answered_from_memory_or_not_at_all() -> None:
    """Nothing is read for it, with a token or without."""
    desk = Desk(DIGITAL, PAPER)
    await desk.ask(PAPER.minimal())
    past = desk.clock() - 0.001
    items = [item_of(given) for given in (DIGITAL.minimal(), PAPER.minimal())]
    for at_least in (None, desk.ledger.position):
        answers = [
            (await desk.verifier.verify(item, at_least=at_least, deadline=past)).hinted()
            for item in items
        ]
        assert [answer.verdict for answer in answers] == ["unavailable", "match"]
        assert answers[0].reason == "timeout"
    assert desk.ledger.reads == [[PAPER.key]]
    assert desk.ledger.reads_at == []


async def test_brownout_shows_what_was_found_and_says_so() -> None:
    """With brown-out, what memory knows of a found invoice stands in, marked stale; no absence."""
    desk = Desk(DIGITAL, brownout=60.0)
    await desk.ask_many(DIGITAL.minimal(), ABSENT.minimal())
    desk.ledger.down = Unavailable("no_database")
    desk.clock.now += 2.0
    assert not (await desk.ask(DIGITAL.minimal())).stale
    desk.clock.now += 60.0
    for given, verdict in (
        (DIGITAL.minimal(), "match"),
        (DIGITAL.minimal() | {"total": "1"}, "mismatch"),
    ):
        answer = await desk.ask(given)
        assert (answer.verdict, answer.stale, answer.source) == (verdict, True, "cache")
        assert answer.reading is not None
        assert answer.reading.as_of == NOON
    assert (await desk.ask(DIGITAL.minimal() | {"total": "x"})).verdict == "invalid"
    assert (await desk.ask(ABSENT.minimal())).verdict == "unavailable"
    desk.clock.now += 0.001
    assert (await desk.ask(DIGITAL.minimal())).verdict == "unavailable"


async def test_no_brownout_unless_allowed() -> None:
    """By default nothing beyond the staleness bound is an answer."""
    desk = Desk(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    desk.ledger.down = Unavailable("no_database")
    desk.clock.now += 2.001
    assert (await desk.ask(DIGITAL.minimal())).verdict == "unavailable"


async def test_look_ups_in_memory_are_counted() -> None:
    """A question from memory is a hit, one that is loaded a miss."""
    desk = Desk(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    await desk.ask(DIGITAL.minimal())
    text = generate_latest(desk.metrics.registry).decode()
    assert 'verifier_cache_lookups_total{outcome="miss"} 1.0' in text
    assert 'verifier_cache_lookups_total{outcome="hit"} 1.0' in text


@pytest.mark.parametrize("lost", [False, True])
async def test_brownout_goes_by_the_newest_state_that_a_log_vouches_for(lost: bool) -> None:
    """Once that log is lost, by the state in which the invoice was read."""
    desk = Desk(DIGITAL, brownout=60.0)
    live = desk.ledger.live = Live()
    await desk.ask(DIGITAL.minimal())
    desk.clock.now += 50.0
    desk.ledger.reading("replica", desk.clock())
    if lost:
        live.reading = None
    desk.ledger.live = None  # nothing newer is published from now on
    desk.ledger.down = Unavailable("no_database")
    desk.clock.now += 12.0
    assert (await desk.ask(DIGITAL.minimal())).verdict == "match"
    desk.clock.now += 20.0
    assert (await desk.ask(DIGITAL.minimal())).verdict == ("unavailable" if lost else "match")
