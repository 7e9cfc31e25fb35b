"""Memory: what the change log evicts, what it vouches for, what a late read may not bring."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest

from tests.engine.desk import ABSENT, LONGEST_READ, Desk
from tests.engine.fakes import turns
from tests.invoice.samples import DIGITAL, NOON, PAPER, Given, Sample, told_by
from verifier.engine.doorkeeper import Doorkeeper
from verifier.engine.freshness import Terms
from verifier.engine.lanes import Limits
from verifier.invoice.verdict import Judgement
from verifier.state import Live
from verifier.wire.records import Record

FLUSHED = Sample(status="red_flushed")

ROOMY = Limits(slots=2, max_batch=50, waiting_singles=100, waiting_bulk=1_000, max_wait=1.0)


def fed(*invoices: Sample) -> Desk:
    """A desk whose ledger has a change log."""
    desk = Desk(*invoices)
    desk.ledger.live = Live()
    return desk


def status(answer: Judgement) -> str:
    """The status of a match."""
    shown: str = told_by(answer.record)["status"]
    return shown


async def held(desk: Desk, given: Given) -> asyncio.Task[Judgement]:
    """A question whose read has seen the ledger, and whose result is still on its way."""
    desk.ledger.gate = asyncio.Event()
    task = asyncio.get_running_loop().create_task(desk.ask(given))
    await turns()
    assert desk.ledger.reads
    return task


async def arrive(desk: Desk, task: asyncio.Task[Judgement]) -> Judgement:
    """The answer, once the read's result is let through."""
    assert desk.ledger.gate is not None
    desk.ledger.gate.set()
    desk.ledger.gate = None
    return await task


async def test_a_change_is_seen_at_once() -> None:
    """What the log says has changed is read anew, found or not; the rest stays in memory."""
    desk = Desk(DIGITAL, PAPER)
    for given in (DIGITAL.minimal(), PAPER.minimal(), ABSENT.minimal()):
        await desk.ask(given)
    await desk.change(FLUSHED, ABSENT)
    assert status(await desk.ask(DIGITAL.minimal())) == "red_flushed"
    assert (await desk.ask(ABSENT.minimal())).verdict == "match"
    assert (await desk.ask(PAPER.minimal())).source == "cache"


@pytest.mark.parametrize("given", [DIGITAL.minimal(), DIGITAL.minimal() | {"total": 113}])
async def test_a_log_vouches_for_what_it_has_not_evicted(given: Given) -> None:
    """As long as newer states are published, a record is as new as they are; then it ages."""
    desk = fed(DIGITAL)
    await desk.ask(given)
    for _ in range(100):
        desk.clock.now += 1.9
        desk.ledger.reading("replica", desk.clock())
        answer = await desk.ask(given)
        assert answer.source == "cache"
        assert answer.reading is not None
        assert answer.reading.as_of == desk.clock()
    desk.clock.now += 2.001
    assert (await desk.ask(given)).source == "replica"
    assert len(desk.ledger.reads) == 2


async def test_nothing_is_believed_once_its_log_is_lost() -> None:
    """Without the log nobody knows whether a record still holds, so it is read again."""
    desk = fed(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    assert desk.ledger.live is not None
    desk.ledger.live.reading = None
    desk.ledger.live = None
    assert (await desk.ask(DIGITAL.minimal())).source == "replica"
    assert (await desk.ask(DIGITAL.minimal())).source == "cache"


async def test_many_are_as_new_as_the_oldest_of_their_databases() -> None:
    """Bulk says of records from several databases what is true of each, and believes each log."""
    desk = fed(DIGITAL, PAPER)
    both = [DIGITAL.minimal(), PAPER.minimal()]
    await desk.ask(both[0])
    one, desk.ledger.live = desk.ledger.live, Live()
    await desk.ask(both[1])
    other = desk.ledger.live
    assert one is not None
    desk.clock.now += 10.0
    for ages in ((0.5, 1.0), (1.0, 0.5)):
        for desk.ledger.live, age in zip((one, other), ages, strict=True):
            desk.ledger.reading("replica", desk.clock() - age)
        answers = await desk.ask_many(*both)
        assert [answer.source for answer in answers] == ["cache"] * 2
        assert [answer.reading and answer.reading.as_of for answer in answers] == [NOON + 9.0] * 2
    desk.ledger.live = other
    one.reading = None
    assert [answer.source for answer in await desk.ask_many(*both)] == ["replica", "cache"]


async def test_a_token_holds_for_each_database() -> None:
    """What memory knows from a database that has not got so far is read anew, the rest is not."""
    desk = fed(DIGITAL, PAPER)
    both = [DIGITAL.minimal(), PAPER.minimal()]
    await desk.ask_many(*both)
    desk.ledger.live, desk.ledger.lsn = Live(), 7
    await desk.change(PAPER)
    await desk.ask(both[1])
    answers = await desk.ask_many(*both, at_least=desk.ledger.position)
    assert [answer.source for answer in answers] == ["primary", "cache"]


async def test_a_log_does_not_prolong_an_absence() -> None:
    """That an invoice was not there is forgotten after absence_seconds, whatever the log says."""
    desk = fed()
    await desk.ask(ABSENT.minimal())
    desk.clock.now += 1.0
    desk.ledger.reading("replica", desk.clock())
    answer = await desk.ask(ABSENT.minimal())
    assert answer.source == "cache"
    assert answer.reading is not None
    assert answer.reading.as_of == NOON  # and it is no newer than it was
    desk.clock.now += 0.001
    desk.ledger.reading("replica", desk.clock())
    assert (await desk.ask(ABSENT.minimal())).source == "replica"


@pytest.mark.parametrize("given", [DIGITAL.minimal(), DIGITAL.minimal() | {"total": 113}])
async def test_a_read_that_began_before_a_change_is_not_kept(given: Given) -> None:
    """A result that was on its way when its key changed answers its callers, and nobody else."""
    desk = fed(DIGITAL)
    task = await held(desk, given)
    desk.clock.now += 0.5
    await desk.change(FLUSHED)
    desk.ledger.reading("replica", desk.clock())
    late = await arrive(desk, task)
    assert status(late) == "normal"
    # It is as old as its read, though the log has gone on since.
    assert late.reading is not None
    assert late.reading.as_of == NOON
    assert status(await desk.ask(given)) == "red_flushed"
    assert status(await desk.ask(given)) == "red_flushed"
    assert len(desk.ledger.reads) == 2


async def test_an_absence_from_before_a_change_is_not_kept() -> None:
    """The same for a key that was not there."""
    desk = fed()
    task = await held(desk, ABSENT.minimal())
    await desk.change(ABSENT)
    assert (await arrive(desk, task)).verdict == "not_found"
    assert (await desk.ask(ABSENT.minimal())).verdict == "match"


async def test_a_change_of_another_key_hinders_no_read() -> None:
    """Only the keys that changed are refused."""
    desk = fed(DIGITAL)
    task = await held(desk, DIGITAL.minimal())
    await desk.change(PAPER)
    await arrive(desk, task)
    assert (await desk.ask(DIGITAL.minimal())).source == "cache"


async def test_when_everything_may_have_changed_nothing_is_kept() -> None:
    """A follower that lost its place empties memory, and refuses whatever was on its way."""
    desk = fed(DIGITAL, PAPER)
    await desk.ask(PAPER.minimal())
    await desk.ask(ABSENT.minimal())
    task = await held(desk, DIGITAL.minimal())
    await desk.memory.apply([], everything=True)
    desk.ledger.applied = desk.memory.applied
    await arrive(desk, task)
    for given in (PAPER.minimal(), ABSENT.minimal(), DIGITAL.minimal()):
        assert (await desk.ask(given)).source == "replica"
        assert (await desk.ask(given)).source == "cache"


async def test_a_read_that_took_too_long_is_not_kept() -> None:
    """Beyond longest_read the changes since its beginning may be forgotten, so nothing is kept."""
    desk = fed(DIGITAL)
    task = await held(desk, DIGITAL.minimal())
    desk.clock.now += LONGEST_READ + 0.001
    assert (await arrive(desk, task)).verdict == "match"
    assert (await desk.ask(DIGITAL.minimal())).source == "replica"


async def test_who_joins_an_old_read_is_told_so() -> None:
    """A running read is only as new as its beginning, whatever has been published since."""
    desk = fed(DIGITAL)
    first = await held(desk, DIGITAL.minimal())
    desk.clock.now += 2.001
    desk.ledger.reading("replica", desk.clock())
    late = asyncio.get_running_loop().create_task(desk.ask(DIGITAL.minimal()))
    await turns()
    assert (await arrive(desk, first)).verdict == "match"
    assert ((await late).verdict, (await late).reason) == ("unavailable", "stale")


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0])
async def test_changes_are_remembered_for_as_long_as_a_read_may_take(seconds: float) -> None:
    """Whatever else changes meanwhile, a change is not forgotten before the reads it concerns."""
    desk = fed(DIGITAL)
    desk.clock.now += 5 * LONGEST_READ
    await desk.change(PAPER)
    desk.clock.now += LONGEST_READ * 0.6
    task = await held(desk, DIGITAL.minimal())
    await desk.change(FLUSHED)
    for step in range(10):
        desk.clock.now += seconds / 10
        await desk.change(Sample(number=f"2611200000000000001{step}"))
    await arrive(desk, task)
    assert status(await desk.ask(DIGITAL.minimal())) == "red_flushed"


async def test_changes_are_forgotten_in_the_end() -> None:
    """The keys of changes do not pile up: two longest reads later they are gone."""
    desk = fed()
    for step in range(50):
        desk.clock.now += LONGEST_READ * 0.6
        await desk.memory.apply([f"{step}-{key}" for key in range(10)], everything=False)
        assert len(desk.memory._tombstones) + len(desk.memory._older_tombstones) <= 50


async def test_a_read_is_kept_although_its_caller_is_gone() -> None:
    """What was read for a caller that went away is there for the next."""
    desk = fed(DIGITAL)
    task = await held(desk, DIGITAL.minimal())
    task.cancel()
    assert desk.ledger.gate is not None
    desk.ledger.gate.set()
    desk.ledger.gate = None
    await turns()
    assert (await desk.ask(DIGITAL.minimal())).source == "cache"


async def test_a_long_list_of_changes_gives_way() -> None:
    """While many keys are dropped other work goes on, and none of them is believed at the end."""
    desk = fed(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    keys = [f"{serial:020d}" for serial in range(10_000)]
    change = asyncio.get_running_loop().create_task(
        desk.memory.apply([*keys, DIGITAL.key], everything=False)
    )
    turned = 0
    while not change.done():
        await asyncio.sleep(0)
        turned += 1
    assert turned >= 10
    assert desk.memory.kept(DIGITAL.key) is None


async def test_changes_are_counted() -> None:
    """What was heard, dropped and refused is in the metrics, and how much is kept."""
    desk = fed(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    await desk.ask(ABSENT.minimal())
    text = generate_latest(desk.metrics.registry).decode()
    assert 'verifier_cache_entries{kind="invoice"} 1.0' in text
    assert 'verifier_cache_entries{kind="absence"} 1.0' in text
    await desk.change(FLUSHED, PAPER)
    task = await held(desk, DIGITAL.minimal())
    await desk.change(DIGITAL)
    await arrive(desk, task)
    cells = {labels[0]: cell.count for labels, cell in desk.metrics.changes._cells.items()}
    assert (cells["heard"], cells["dropped"], cells["refill_refused"]) == (3, 1, 1)


async def test_what_is_kept_is_no_absence() -> None:
    """Only found invoices can stand in when nothing can be read."""
    desk = fed(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    await desk.ask(ABSENT.minimal())
    kept = desk.memory.kept(DIGITAL.key)
    assert isinstance(kept, Record)
    assert kept.members == DIGITAL.record().members
    assert desk.memory.kept(ABSENT.key) is None


async def test_a_memory_that_fills_keeps_what_is_asked_again() -> None:
    """What passes by once drives out nothing; at its second reading an invoice is kept."""
    many = [Sample(number=f"2611{serial:016d}") for serial in range(200)]
    desk = Desk(DIGITAL, *many, limits=ROOMY)
    # Large, so that no key passes for another by sharing its bit.
    desk.memory._doorkeeper = Doorkeeper(1_000_000)
    desk.ledger.live = Live()
    first, passing = many[:50], many[50:]
    await desk.ask_many(*(sample.minimal() for sample in first))
    assert desk.memory._known.evicts
    for start in range(0, len(passing), 50):
        await desk.ask_many(*(sample.minimal() for sample in passing[start : start + 50]))
    kept = await desk.ask_many(*(sample.minimal() for sample in first[:20]))
    assert [answer.source for answer in kept] == ["cache"] * 20
    sources = [(await desk.ask(DIGITAL.minimal())).source for _ in range(3)]
    assert sources == ["replica", "replica", "cache"]


async def test_a_memory_that_fills_takes_a_new_state_of_what_it_has() -> None:
    """A finding that may no longer be believed gives way at once to a newer one."""
    many = [Sample(number=f"2611{serial:016d}") for serial in range(50)]
    desk = Desk(*many, limits=ROOMY)
    await desk.ask_many(*(sample.minimal() for sample in many))
    assert desk.memory._known.evicts
    desk.clock.now += 3
    sources = [(await desk.ask(many[0].minimal())).source for _ in range(2)]
    assert sources == ["replica", "cache"]


async def test_late_reads_are_counted_one_after_the_other() -> None:
    """Each finding that came too late to be kept adds to those before it."""
    desk = fed(DIGITAL, PAPER)
    for sample in (DIGITAL, PAPER):
        task = await held(desk, sample.minimal())
        desk.clock.now += LONGEST_READ + 0.001
        await arrive(desk, task)
    assert desk.metrics.changes.cell("refill_refused").count == 2


async def test_questions_without_a_key_are_no_look_ups() -> None:
    """However many there are in a request, they count neither as hits nor as misses."""
    desk = fed(DIGITAL)
    await desk.ask(DIGITAL.minimal())
    cells = [desk.metrics.cache_lookups.cell(outcome) for outcome in ("hit", "miss")]
    before = [cell.count for cell in cells]
    await desk.ask_many({}, {}, {}, DIGITAL.minimal())
    assert [cell.count - count for cell, count in zip(cells, before, strict=True)] == [1, 0]


async def test_each_absence_that_is_believed_is_a_hit() -> None:
    """Among found invoices and unknown ones, and in addition to the look-ups before."""
    desk = fed(DIGITAL)
    absent = [Sample(number=f"2611200000000000001{serial}") for serial in range(3)]
    await desk.ask_many(*(sample.minimal() for sample in (DIGITAL, *absent)))
    keys = [
        DIGITAL.key,
        *(sample.key for sample in absent),
        PAPER.key,
        Sample(number="26112000000000000020").key,
    ]
    hits, misses = (desk.metrics.cache_lookups.cell(outcome) for outcome in ("hit", "miss"))
    assert (hits.count, misses.count) == (0, 4)
    for times in (1, 2):
        desk.memory.recall(keys, Terms(desk.clock(), desk.clock()))
        assert (hits.count, misses.count) == (4 * times, 4 + 2 * times)


@pytest.mark.parametrize("asked", [DIGITAL, ABSENT, PAPER])
@pytest.mark.parametrize("later", [0.0, 1.5, 3.0])
@pytest.mark.parametrize("is_lost", [False, True])
async def test_one_key_alone_is_as_one_of_many(asked: Sample, later: float, is_lost: bool) -> None:
    """Found, absent or unknown; new, too old for an absence, or for a record; its log lost or not.

    And with a newer reading of the same database than it was found in.
    """
    desk = fed(DIGITAL)
    await desk.ask_many(DIGITAL.minimal(), ABSENT.minimal())
    desk.clock.now += later
    desk.ledger.reading("replica", desk.clock() - later / 2)
    if is_lost:
        assert desk.ledger.live is not None
        desk.ledger.live.reading = None
    cells = [desk.metrics.cache_lookups.cell(outcome) for outcome in ("hit", "miss")]
    before = [cell.count for cell in cells]
    terms = Terms(desk.clock(), desk.clock() - 1.0)
    alone = desk.memory.recall_one(asked.key, terms)
    counted = [cell.count - count for cell, count in zip(cells, before, strict=True)]
    (record,), absences, reading = desk.memory.recall((asked.key,), terms)
    assert alone == (record or absences.get(0), reading)
    assert [cell.count - count for cell, count in zip(cells, before, strict=True)] == [
        2 * count for count in counted
    ]


async def test_a_read_that_took_just_as_long_as_it_may_is_kept() -> None:
    """The changes since its beginning are remembered for that long."""
    desk = fed(DIGITAL)
    task = await held(desk, DIGITAL.minimal())
    desk.clock.now += LONGEST_READ
    desk.ledger.reading("replica", desk.clock())
    await arrive(desk, task)
    assert (await desk.ask(DIGITAL.minimal())).source == "cache"


async def test_overtaken_findings_are_counted_one_by_one() -> None:
    """Each that a change forbids to keep adds to those before it."""
    desk = fed(DIGITAL)
    for _ in range(2):
        task = await held(desk, DIGITAL.minimal())
        await desk.change(DIGITAL)
        await arrive(desk, task)
    assert desk.metrics.changes.cell("refill_refused").count == 2


async def test_an_absence_that_a_change_ends_is_counted_as_dropped() -> None:
    """As a record is that one evicts."""
    desk = fed()
    await desk.ask(ABSENT.minimal())
    await desk.change(ABSENT)
    assert desk.metrics.changes.cell("dropped").count == 1


@pytest.mark.parametrize("changes", [0, 3])
async def test_what_was_on_its_way_when_everything_changed_is_an_answer_and_not_kept(
    changes: int,
) -> None:
    """However many changes there were before its read began."""
    desk = fed(DIGITAL)
    for _ in range(changes):
        await desk.change(PAPER)
    task = await held(desk, DIGITAL.minimal())
    await desk.memory.apply([], everything=True)
    desk.ledger.applied = desk.memory.applied
    assert (await arrive(desk, task)).verdict == "match"
    assert (await desk.ask(DIGITAL.minimal())).source == "replica"
