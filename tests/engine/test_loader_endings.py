"""The loader when callers go away, queries fail, time runs out, or the process ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.fakes import turns
from tests.engine.loader_desk import LIMITS, Desk, reason
from tests.invoice.samples import NOON
from verifier.engine.calls import UNCHECKED, Call
from verifier.errors import Unavailable


async def test_a_cancelled_caller_breaks_nobody_else() -> None:
    """Whoever shares a read gets its outcome although the one who caused it is gone."""
    desk = Desk()
    gone = await desk.begin("a")
    running = await desk.begin("a")
    gone_too = await desk.begin("b", "c")
    waiting = await desk.begin("b")
    for task in (gone, gone_too):
        task.cancel()
    await turns()
    assert gone.cancelled()
    await desk.finish()
    assert desk.ledger.asked == [["a"], ["b"]]  # nobody awaits c
    assert (await running).outcomes.keys() == {"a"}
    assert (await waiting).outcomes.keys() == {"b"}


async def test_a_key_that_nobody_awaits_is_not_read() -> None:
    """When all callers of a waiting key are gone it leaves the queue without a query."""
    desk = Desk()
    running = await desk.begin("running")
    tasks = [await desk.begin("a"), await desk.begin("a"), await desk.begin("b", bulk=True)]
    for task in tasks:
        task.cancel()
    await desk.finish()
    await running
    assert desk.ledger.asked == [["running"]]
    assert [task.cancelled() for task in tasks] == [True, True, True]


async def test_a_key_may_be_asked_again_after_its_callers_are_gone() -> None:
    """A read whose callers are all cancelled still serves who comes before its end."""
    desk = Desk()
    gone = await desk.begin("a")
    gone.cancel()
    await turns()
    late = await desk.begin("a")
    await desk.finish()
    assert desk.ledger.asked == [["a"]]
    assert (await late).joined == {"a"}
    again = await desk.begin("a")
    await desk.finish()
    assert desk.ledger.asked == [["a"], ["a"]]
    assert (await again).joined == set()


async def test_what_is_unavailable_is_so_for_every_key_of_the_query() -> None:
    """An Unavailable that a query raises is the outcome of its keys, and of no others."""
    desk = Desk()
    first = await desk.begin("a")
    others = await desk.begin("b", "c")
    error = Unavailable("no_database", 7)
    desk.ledger.reads[0].fail(error)
    await turns()
    assert (await first).outcomes == {"a": error}
    desk.ledger.reads[1].succeed()
    assert not isinstance((await others).outcomes["b"], Unavailable)
    desk.check_empty()


async def test_an_unexpected_error_is_heard_of() -> None:
    """Callers get ``failed``, and the loop's exception handler gets the error itself."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    desk = Desk()
    caller = await desk.begin("a")
    error = ZeroDivisionError("a bug")
    desk.ledger.reads[0].fail(error)
    assert reason(await caller, "a") == "failed"
    assert [context["exception"] for context in heard] == [error]
    again = await desk.begin("a")
    await desk.finish()
    assert not isinstance((await again).outcomes["a"], Unavailable)


async def test_a_cancelled_query_answers_its_callers() -> None:
    """A query that something cancels leaves nobody waiting."""
    desk = Desk()
    caller = await desk.begin("a")
    desk.ledger.reads[0].answer.cancel()
    assert reason(await caller, "a") == "closing"
    desk.check_empty()


async def test_a_key_that_the_read_leaves_out_is_unchecked() -> None:
    """A read that could not say about one key says so about that key only."""
    desk = Desk()
    running = await desk.begin("running")
    caller = await desk.begin("a", "b")
    desk.ledger.reads[0].succeed()
    await turns()
    read = desk.ledger.reads[1]
    read.keys.remove("a")
    found = read.succeed()
    assert (await caller).outcomes == {"a": UNCHECKED, **found}
    await running
    desk.check_empty()


async def test_keys_that_nobody_asked_for_are_passed_over() -> None:
    """What a read brings beyond its keys is nobody's outcome."""
    desk = Desk()
    caller = await desk.begin("a")
    desk.ledger.reads[0].keys.append("b")
    desk.ledger.reads[0].succeed()
    assert (await caller).outcomes.keys() == {"a"}
    desk.check_empty()


async def test_another_key_in_its_place_leaves_a_key_unchecked() -> None:
    """As many findings as keys are not yet a finding for each."""
    desk = Desk()
    caller = await desk.begin("a")
    desk.ledger.reads[0].keys[:] = ["b"]
    desk.ledger.reads[0].succeed()
    assert (await caller).outcomes == {"a": UNCHECKED}
    desk.check_empty()


async def test_waiting_too_long_is_a_timeout() -> None:
    """A key that waited longer than max_wait is given up instead of being read."""
    desk = Desk()
    running = await desk.begin("running")
    late = await desk.begin("a")
    desk.clock.now += 0.6
    in_time = await desk.begin("b")
    desk.clock.now += 0.5
    await desk.finish()
    assert reason(await late, "a") == "timeout"
    assert (await in_time).outcomes.keys() == {"b"}
    assert desk.ledger.asked == [["running"], ["b"]]
    await running


async def test_bulk_waits_for_as_long_as_its_caller() -> None:
    """What was taken in is answered, up to its own deadline and no longer."""
    desk = Desk()
    running = await desk.begin("running")
    patient = await desk.begin("a", bulk=True)
    hasty = await desk.begin("b", bulk=True, deadline=desk.clock() + 5.0)
    desk.clock.now += 10 * LIMITS.max_wait
    await desk.finish()
    assert not isinstance((await patient).outcomes["a"], Unavailable)
    assert reason(await hasty, "b") == "timeout"
    assert desk.ledger.asked == [["running"], ["a"]]
    await running


async def test_bulk_waits_for_room_no_longer_than_its_caller() -> None:
    """The rest of its keys are given up then; those that came in are read all the same."""
    desk = Desk()
    running = await desk.begin("running")
    bulk = await desk.begin(*"abcd", bulk=True, deadline=desk.clock() + 0.05)
    assert desk.loader.waiting == (0, 2)
    desk.clock.now += 0.05
    (call,) = desk.loader._calls["a"]
    assert isinstance(call, Call)
    async with asyncio.timeout(5):
        while len(call.outcomes) < 2:
            await asyncio.sleep(0.005)
    await desk.finish()
    outcomes = (await bulk).outcomes
    assert [reason(await bulk, key) for key in "cd"] == ["timeout"] * 2
    assert not isinstance(outcomes["a"], Unavailable)
    await running


async def test_bulk_that_goes_while_it_waits_for_room_leaves_nothing() -> None:
    """Its keys that were taken in already are not read for nobody."""
    desk = Desk()
    running = await desk.begin("running")
    bulk = await desk.begin(*"abcd", bulk=True)
    bulk.cancel()
    await turns()
    assert bulk.cancelled()
    await desk.finish()
    assert desk.ledger.asked == [["running"]]
    await running


async def test_bulk_that_waits_for_room_is_told_that_the_process_ends() -> None:
    """Every key of it has an outcome."""
    desk = Desk()
    running = await desk.begin("running")
    bulk = await desk.begin(*"abcd", bulk=True)
    closing = asyncio.create_task(desk.loader.close())
    await turns()
    assert [reason(await bulk, key) for key in "abcd"] == ["closing"] * 4
    await desk.finish()
    await asyncio.gather(closing, running)


async def test_exactly_max_wait_is_still_in_time() -> None:
    """The bound itself is allowed."""
    desk = Desk()
    running = await desk.begin("running")
    caller = await desk.begin("a")
    desk.clock.now += LIMITS.max_wait
    await desk.finish()
    assert not isinstance((await caller).outcomes["a"], Unavailable)
    await running


@pytest.mark.parametrize("bulk", [False, True])
async def test_no_read_begins_after_its_deadline(bulk: bool) -> None:
    """A key whose callers wait no longer is given up, although max_wait has not passed."""
    desk = Desk()
    running = await desk.begin("running")
    now = desk.clock.now
    late = await desk.begin("a", deadline=now + 0.2, bulk=bulk)
    in_time = await desk.begin("b", deadline=now + 0.3, bulk=bulk)
    desk.clock.now += 0.3
    await desk.finish()
    assert reason(await late, "a") == "timeout"
    assert (await in_time).outcomes.keys() == {"b"}
    assert desk.ledger.asked == [["running"], ["b"]]
    await running


async def test_a_read_has_the_latest_deadline_of_its_callers() -> None:
    """One who waits for longer gets the outcome, and so do those whom it shares a read with."""
    desk = Desk()
    running = await desk.begin("running", deadline=NOON + 1)
    callers = [
        await desk.begin("a", deadline=NOON + 0.1),
        await desk.begin("a", deadline=NOON + 0.3),
        await desk.begin("b", deadline=NOON + 0.2),
    ]
    gone = await desk.begin("a", "b", deadline=NOON + 9)
    gone.cancel()
    await turns()
    desk.clock.now += 0.15
    await desk.finish()
    assert desk.ledger.asked == [["running"], ["a", "b"]]
    assert [read.deadline for read in desk.ledger.reads] == [NOON + 1, NOON + 0.3]
    for caller in (running, *callers):
        assert not any(isinstance(one, Unavailable) for one in (await caller).outcomes.values())


async def test_close_refuses_what_waits_and_awaits_what_runs() -> None:
    """Closing answers waiting keys at once, and ends with the last running query."""
    desk = Desk()
    running = await desk.begin("running")
    waiting = await desk.begin("a")
    bulk = await desk.begin("b", bulk=True)
    both = await desk.begin("running", "a")
    closing = asyncio.get_running_loop().create_task(desk.loader.close())
    await turns()
    assert reason(await waiting, "a") == "closing"
    assert reason(await bulk, "b") == "closing"
    assert reason(await desk.loader.load(["c"]), "c") == "closing"
    assert not closing.done()
    assert not both.done()
    sharing = await desk.begin("running")
    found = desk.ledger.reads[0].succeed()
    await closing
    assert (await running).outcomes == (await sharing).outcomes == found
    assert reason(await both, "a") == "closing"
    assert desk.ledger.asked == [["running"]]
    desk.check_empty()


async def test_a_closed_loader_refuses_a_single_question() -> None:
    """At once, and for itself."""
    desk = Desk()
    await desk.loader.close()
    async with asyncio.timeout(1):
        outcome, joined = await desk.loader.load_one("a")
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, joined) == ("closing", False)
    desk.check_empty()


async def test_close_of_an_idle_loader_returns() -> None:
    """Nothing to wait for: closing, and closing again, is done at once."""
    desk = Desk()
    await desk.loader.close()
    await desk.loader.close()
    desk.check_empty()


async def test_an_unexpected_error_is_told_with_its_task() -> None:
    """So that a debugger can show where the query was."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    desk = Desk()
    caller = await desk.begin("a")
    desk.ledger.reads[0].fail(ZeroDivisionError("a bug"))
    await caller
    (context,) = heard
    assert context["message"] == "look-up failed"
    assert isinstance(context["task"], asyncio.Task)
    assert context["task"].done()
