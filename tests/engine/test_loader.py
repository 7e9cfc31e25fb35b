"""The loader: shared reads, batches without a timer, one bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import generate_latest

from tests.engine.fakes import turns
from tests.engine.loader_desk import LIMITS, Desk, reason
from verifier.engine.lanes import Limits
from verifier.errors import Unavailable
from verifier.wire.records import Absence


def slots(count: int) -> Limits:
    """The usual limits with so many slots."""
    return Limits(count, LIMITS.max_batch, LIMITS.waiting_singles, LIMITS.waiting_bulk, 1.0)


async def test_an_idle_look_up_leaves_at_once_and_alone() -> None:
    """With nothing under way, or a query that is slow, there is no waiting for company."""
    desk = Desk(slots(3))
    first = await desk.begin("a")
    desk.clock.now += 0.01
    second = await desk.begin("b")
    assert desk.ledger.asked == [["a"], ["b"]]
    found = desk.ledger.reads[1].succeed()
    assert (await second).outcomes == found
    assert not first.done()
    await desk.finish()
    assert (await first).outcomes.keys() == {"a"}


async def test_callers_of_one_key_share_one_read() -> None:
    """Whoever asks for a key that is being read, or waits to be, gets the same outcome."""
    desk = Desk()
    first = await desk.begin("a")
    running = await desk.begin("a")
    waiting = await desk.begin("b")
    joining = await desk.begin("b", "a", bulk=True)
    await desk.finish()
    assert desk.ledger.asked == [["a"], ["b"]]
    assert (await running).outcomes == (await first).outcomes
    assert (await joining).outcomes == {**(await first).outcomes, **(await waiting).outcomes}
    assert [(await task).joined for task in (first, running, waiting, joining)] == [
        set(),
        {"a"},
        set(),
        {"a", "b"},
    ]


async def test_waiting_keys_share_a_query_up_to_max_batch() -> None:
    """While all slots are taken batches form by themselves, in the order of asking."""
    desk = Desk()
    callers = [await desk.begin(key) for key in "abcde"]
    assert desk.loader.waiting == (4, 0)
    await desk.finish()
    assert desk.ledger.asked == [["a"], ["b", "c", "d"], ["e"]]
    for key, caller in zip("abcde", callers, strict=True):
        assert (await caller).outcomes.keys() == {key}


async def test_beside_a_query_that_has_just_begun_keys_wait_for_company() -> None:
    """A few keys leave when that query returns; a full batch does not wait."""
    desk = Desk(slots(3))
    callers = [await desk.begin(key) for key in "abc"]
    assert desk.ledger.asked == [["a"]]
    callers.append(await desk.begin("d"))
    assert desk.ledger.asked == [["a"], ["b", "c", "d"]]
    callers.append(await desk.begin("e"))
    desk.ledger.reads[0].succeed()
    await turns()
    assert desk.ledger.asked[2:] == []
    await desk.finish()
    assert desk.ledger.asked[2:] == [["e"]]
    for key, caller in zip("abcde", callers, strict=True):
        assert (await caller).outcomes.keys() == {key}


async def test_one_caller_s_keys_are_split_by_max_batch_over_slots() -> None:
    """Many keys of one caller leave in as many queries as slots and max_batch allow."""
    desk = Desk(Limits(slots=2, max_batch=2, waiting_singles=9, waiting_bulk=9, max_wait=1.0))
    caller = await desk.begin(*"abcdefg")
    assert desk.ledger.asked == [["a", "b"], ["c", "d"]]
    await desk.finish()
    assert desk.ledger.asked == [["a", "b"], ["c", "d"], ["e", "f"], ["g"]]
    assert list((await caller).outcomes) == list("abcdefg")
    assert (await caller).joined == set()


async def test_a_full_queue_refuses_at_once() -> None:
    """A key beyond the bound is refused without waiting; the others of its caller are read."""
    desk = Desk()
    running = await desk.begin("running")
    waiting = await desk.begin(*"abc")
    mixed = await desk.begin("a", "d", "e", "running")
    refused = await desk.loader.load(["f"])
    assert reason(refused, "f") == "overloaded"
    assert desk.loader.waiting == (4, 0)
    # Sharing needs no place in the queue.
    sharing = await desk.begin("d")
    await desk.finish()
    outcomes = (await mixed).outcomes
    assert outcomes.keys() == {"a", "d", "e", "running"}
    assert reason(await mixed, "e") == "overloaded"
    assert isinstance(outcomes["a"], type(outcomes["d"]))
    for task in (running, waiting, sharing):
        assert not isinstance(next(iter((await task).outcomes.values())), Unavailable)


async def test_bulk_has_its_own_and_lower_bound() -> None:
    """Bulk beyond it waits for room and is answered in full; single questions still find room."""
    desk = Desk()
    running = await desk.begin("running")
    bulk = await desk.begin(*"abcdefg", bulk=True)
    single = await desk.begin("s")
    assert desk.loader.waiting == (1, 2)
    await desk.finish()
    assert [type(each) for each in (await bulk).outcomes.values()] == [Absence] * 7
    assert desk.ledger.asked == [["running"], ["s"], ["a", "b"], ["c", "d"], ["e", "f"], ["g"]]
    assert (await single).outcomes.keys() == {"s"}
    assert (await running).outcomes.keys() == {"running"}


async def test_bulk_waits_for_room_in_the_order_in_which_it_came() -> None:
    """Who came first has the places that become free."""
    desk = Desk()
    running = await desk.begin("running")
    first = await desk.begin(*"abcd", bulk=True)
    second = await desk.begin("e", "f", bulk=True)
    await desk.finish()
    assert desk.ledger.asked == [["running"], ["a", "b"], ["c", "d"], ["e", "f"]]
    assert (await first).outcomes.keys() == set("abcd")
    assert (await second).outcomes.keys() == set("ef")
    await running


async def test_singles_go_before_bulk() -> None:
    """A single question that came later leaves before the bulk that waits."""
    desk = Desk()
    tasks = [
        await desk.begin("running"),
        await desk.begin("b", "c", bulk=True),
        await desk.begin("a"),
    ]
    await desk.finish()
    await asyncio.gather(*tasks)
    assert desk.ledger.asked == [["running"], ["a"], ["b", "c"]]


async def test_one_slot_is_kept_from_bulk() -> None:
    """However much bulk there is, a single question finds a slot free."""
    desk = Desk(Limits(slots=3, max_batch=1, waiting_singles=9, waiting_bulk=9, max_wait=1.0))
    bulk = await desk.begin(*"abcd", bulk=True)
    assert desk.ledger.asked == [["a"], ["b"]]
    single = await desk.begin("s")
    assert desk.ledger.asked[2:] == [["s"]]
    desk.ledger.reads[2].succeed()
    await single
    assert len(desk.ledger.reads) == 3
    desk.ledger.reads[0].succeed()
    await turns()
    assert desk.ledger.asked[3:] == [["c"]]
    await desk.finish()
    assert (await bulk).outcomes.keys() == set("abcd")


async def test_bulk_may_use_the_only_slot() -> None:
    """With one slot nothing can be kept free, and bulk is served all the same."""
    desk = Desk()
    bulk = await desk.begin("a", bulk=True)
    assert desk.ledger.asked == [["a"]]
    await desk.finish()
    await bulk


async def test_no_keys_need_no_query() -> None:
    """An empty question is answered at once."""
    desk = Desk()
    assert (await desk.loader.load([])).outcomes == {}
    assert desk.ledger.asked == []


async def test_queries_are_measured() -> None:
    """Each query's size and duration, by the clock, are in the metrics."""
    desk = Desk()
    first = await desk.begin("a")
    rest = await desk.begin("b", "c")
    desk.clock.now += 0.25
    await desk.finish()
    await asyncio.gather(first, rest)
    text = generate_latest(desk.metrics.registry).decode()
    assert "verifier_query_keys_count 2.0" in text
    assert "verifier_query_keys_sum 3.0" in text
    assert "verifier_query_seconds_sum 0.25" in text


async def test_nobody_waits_for_the_company_of_a_slow_query() -> None:
    """A key that waits for company leaves when the query beside it turns out to be slow."""
    desk = Desk(slots(2))
    slow = await desk.begin("a")
    other = await desk.begin("b")
    assert desk.ledger.asked == [["a"]]
    desk.clock.now += 0.01
    async with asyncio.timeout(5):
        while len(desk.ledger.reads) < 2:
            await asyncio.sleep(0.001)
    desk.ledger.reads[1].succeed()
    assert (await other).outcomes.keys() == {"b"}
    assert not slow.done()
    await desk.finish()


async def test_a_single_question_pulls_a_key_out_of_the_bulk_queue() -> None:
    """Whoever asks alone for what bulk waits for gets it before the rest of bulk does (B12)."""
    desk = Desk(Limits(slots=1, max_batch=2, waiting_singles=9, waiting_bulk=9, max_wait=1.0))
    running = await desk.begin("r", bulk=True)
    bulk = await desk.begin(*"abcdef", bulk=True)
    single = asyncio.create_task(desk.loader.load_one("e"))
    await turns()
    assert desk.loader.waiting == (1, 5)
    desk.ledger.reads[0].succeed()
    await turns()
    assert desk.ledger.asked == [["r"], ["e"]]
    await desk.finish()
    assert desk.ledger.asked[2:] == [["a", "b"], ["c", "d"], ["f"]]
    outcome, joined = await single
    assert (await bulk).outcomes["e"] is outcome
    assert joined
    assert list((await bulk).outcomes) == list("eabcdf")
    assert (await running).outcomes.keys() == {"r"}


async def test_a_key_that_is_pulled_forward_has_not_waited_as_a_single() -> None:
    """However long it has waited with bulk: neither caller is given up."""
    desk = Desk(Limits(slots=1, max_batch=2, waiting_singles=9, waiting_bulk=9, max_wait=1.0))
    running = await desk.begin("r")
    bulk = await desk.begin("a", bulk=True)
    desk.clock.now += 5.0
    single = asyncio.create_task(desk.loader.load_one("a"))
    await turns()
    await desk.finish()
    outcome, _ = await single
    assert isinstance(outcome, Absence)
    assert (await bulk).outcomes["a"] is outcome
    await running


async def test_a_key_that_has_waited_for_room_is_pulled_forward_too() -> None:
    """Whenever it came into the lane."""
    desk = Desk()
    running = await desk.begin("r")
    bulk = await desk.begin(*"abcd", bulk=True)
    desk.clock.now += 0.5
    desk.ledger.reads[0].succeed()
    await turns()
    assert desk.ledger.asked == [["r"], ["a", "b"]]
    single = asyncio.create_task(desk.loader.load_one("d"))
    await turns()
    assert desk.loader.waiting == (1, 1)
    await desk.finish()
    assert desk.ledger.asked[2:] == [["d"], ["c"]]
    await asyncio.gather(running, bulk, single)


async def test_a_key_is_pulled_forward_only_into_a_queue_with_room() -> None:
    """The bound on singles holds; the key then comes with bulk."""
    desk = Desk(Limits(slots=1, max_batch=2, waiting_singles=1, waiting_bulk=9, max_wait=1.0))
    await desk.begin("r")
    await desk.begin("s")
    await desk.begin(*"ab", bulk=True)
    single = asyncio.create_task(desk.loader.load_one("a"))
    await turns()
    assert desk.loader.waiting == (1, 2)
    await desk.finish()
    assert (await single)[1]


async def test_a_key_that_is_read_already_is_not_read_again() -> None:
    """Joining a running bulk query brings nothing forward."""
    desk = Desk(Limits(slots=1, max_batch=2, waiting_singles=9, waiting_bulk=9, max_wait=1.0))
    await desk.begin("a", bulk=True)
    single = asyncio.create_task(desk.loader.load_one("a"))
    await turns()
    assert desk.loader.waiting == (0, 0)
    await desk.finish()
    assert (await single)[1]
    assert desk.ledger.asked == [["a"]]


async def test_beside_a_bulk_query_bulk_waits_for_company_and_a_single_question_does_not() -> None:
    """Each class waits beside its own queries alone."""
    desk = Desk(Limits(slots=4, max_batch=3, waiting_singles=9, waiting_bulk=9, max_wait=1.0))
    callers = [await desk.begin(key, bulk=True) for key in "ab"]
    assert desk.ledger.asked == [["a"]]
    callers.append(await desk.begin("s"))
    assert desk.ledger.asked == [["a"], ["s"]]
    callers.append(await desk.begin("c", "d", bulk=True))
    assert desk.ledger.asked == [["a"], ["s"], ["b", "c", "d"]]
    await desk.finish()
    assert [sorted((await caller).outcomes) for caller in callers] == [
        ["a"],
        ["b"],
        ["s"],
        ["c", "d"],
    ]


async def test_free_slots_share_what_waits() -> None:
    """Many keys leave in as many queries of about one size, so that no server's core idles."""
    desk = Desk(Limits(slots=2, max_batch=99, waiting_singles=99, waiting_bulk=9, max_wait=1.0))
    caller = await desk.begin(*map(str, range(61)))
    assert [len(keys) for keys in desk.ledger.asked] == [31, 30]
    await desk.finish()
    assert len((await caller).outcomes) == 61


async def test_with_two_slots_bulk_has_one() -> None:
    """The other one is kept for single questions."""
    desk = Desk(Limits(slots=2, max_batch=1, waiting_singles=9, waiting_bulk=9, max_wait=1.0))
    await desk.begin(*"ab", bulk=True)
    assert desk.ledger.asked == [["a"]]
    await desk.finish()


async def test_a_single_question_is_refused_at_once_when_the_queue_is_full() -> None:
    """It is refused for itself: no other caller's read has said so."""
    desk = Desk()
    running, waiting = await desk.begin("running"), await desk.begin(*"abcd")
    async with asyncio.timeout(1):
        outcome, joined = await desk.loader.load_one("e")
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, joined) == ("overloaded", False)
    await desk.finish()
    await asyncio.gather(running, waiting)


async def test_a_single_question_joins_a_key_that_waits_with_the_singles() -> None:
    """There is no place in front of them: the key stays in its place."""
    desk = Desk()
    callers = [await desk.begin(key) for key in "abc"]
    single = asyncio.create_task(desk.loader.load_one("c"))
    await turns()
    await desk.finish()
    assert desk.ledger.asked == [["a"], ["b", "c"]]
    assert (await single)[1]
    await asyncio.gather(*callers)


async def test_a_key_past_its_deadline_splits_no_query() -> None:
    """Those before it and behind it leave together."""
    desk = Desk()
    running = await desk.begin("running")
    deadline = desk.clock.now + 0.2
    await desk.begin("a")
    await desk.begin("late", deadline=deadline)
    await desk.begin("b")
    desk.clock.now += 0.3
    await desk.finish()
    assert desk.ledger.asked == [["running"], ["a", "b"]]
    await running


class Timers:
    """The timers that are set from now on, which a test lets go off."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.due: list[Callable[[], None]] = []
        patch.setattr(asyncio.get_running_loop(), "call_later", self._keep)

    def _keep(self, _: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.due.append(callback)
        return asyncio.TimerHandle(0.0, callback, (), asyncio.get_running_loop())

    async def pass_by(self) -> None:
        """Have all go off, and whatever follows from that."""
        due, self.due = self.due, []
        for callback in due:
            callback()
        await turns()


async def test_an_idle_loader_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when a key leaves at once, nor when its read returns."""
    desk, timers = Desk(slots(2)), Timers(monkeypatch)
    await desk.begin("a")
    await desk.finish()
    assert timers.due == []


async def test_each_slow_query_is_found_to_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one as well as the first."""
    desk, timers = Desk(slots(4)), Timers(monkeypatch)
    await desk.begin("a")
    for key in "bc":
        await desk.begin(key)
        desk.clock.now += 0.01
        await timers.pass_by()
    assert desk.ledger.asked == [["a"], ["b"], ["c"]]
    await desk.finish()


async def test_slow_reads_lower_how_many_run_at_once() -> None:
    """More would only wait for each other in the database; what waits here shares the next read."""
    desk = Desk(Limits(slots=16, max_batch=1, waiting_singles=99, waiting_bulk=99, max_wait=1e9))
    await answered(desk, rounds=1, seconds=0.001)
    await answered(desk, rounds=20, seconds=1.0)
    callers = [await desk.begin(f"last {number}") for number in range(16)]
    assert desk.loader.reading < 8
    await desk.finish()
    assert all([(await caller).outcomes for caller in callers])


async def test_reads_that_are_never_answered_are_slow_ones() -> None:
    """Those that end by their deadline tell the most; those that fail at once tell nothing."""
    desk = Desk(Limits(slots=16, max_batch=1, waiting_singles=99, waiting_bulk=99, max_wait=1e9))
    await answered(desk, rounds=1, seconds=0.001)
    await answered(desk, rounds=20, seconds=0.001, error=Unavailable("no_database"))
    callers = [await desk.begin(f"between {number}") for number in range(16)]
    assert desk.loader.reading == 16
    await desk.finish()
    await answered(desk, rounds=20, seconds=1.0, error=Unavailable("timeout"))
    callers += [await desk.begin(f"last {number}") for number in range(16)]
    assert desk.loader.reading < 8
    await desk.finish()
    assert all([(await caller).outcomes for caller in callers])


@pytest.mark.parametrize("bulk", [False, True])
async def test_who_waits_for_longer_is_not_cut_off_with_others(bulk: bool) -> None:
    """A read that ended with the time of those for whom it began is begun anew for the others."""
    desk = Desk(slots(2))
    now = desk.clock.now
    hasty = await desk.begin("a", deadline=now + 1)
    patient = await desk.begin("a", "b", deadline=now + 10, bulk=bulk)
    desk.clock.now += 1.1
    desk.ledger.reads[0].answer.set_exception(Unavailable("timeout"))
    await turns()
    assert reason(await hasty, "a") == "timeout"
    assert not patient.done()
    assert "a" in desk.ledger.asked[-1]
    assert desk.ledger.reads[-1].deadline == now + 10
    await desk.finish()
    outcomes = (await patient).outcomes
    assert [isinstance(outcomes[key], Absence) for key in "ab"] == [True, True]


async def test_a_read_that_no_caller_s_time_has_ended_is_not_begun_anew() -> None:
    """Databases that answer nobody in time are not asked for as long as somebody waits."""
    desk = Desk()
    hasty = await desk.begin("a", deadline=desk.clock.now + 5)
    patient = await desk.begin("a", deadline=desk.clock.now + 10)
    desk.clock.now += 1.1
    desk.ledger.reads[0].answer.set_exception(Unavailable("timeout"))
    await turns()
    assert [reason(await task, "a") for task in (hasty, patient)] == ["timeout", "timeout"]
    desk.check_empty()


async def answered(
    desk: Desk, rounds: int, seconds: float, error: Unavailable | None = None
) -> None:
    """Ask for many keys so many times, and have each read take so long."""
    for number in range(rounds):
        callers = [await desk.begin(f"{number} {seconds} {key}") for key in range(16)]
        while open_reads := [read for read in desk.ledger.reads if not read.answer.done()]:
            desk.clock.now += seconds
            for read in open_reads:
                if error is None:
                    read.succeed()
                else:
                    read.answer.set_exception(error)
            await turns()
        for caller in callers:
            await caller
