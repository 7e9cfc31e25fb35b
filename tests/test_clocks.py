"""Tests of the clocks, and of what a correction of the one on the wall changes."""

from __future__ import annotations

import time

import pytest

from tests.engine.desk import ABSENT, Desk
from tests.engine.fakes import Clock
from tests.invoice.samples import NOON, Sample
from verifier.clocks import Clocks, system_clocks
from verifier.engine.verifier import Verifier
from verifier.invoice.verdict import DAY

INVOICE = Sample()


def test_the_steady_clock_counts_the_time_in_suspend() -> None:
    """What was fresh before the machine was suspended must not pass for fresh afterwards."""
    steady = system_clocks().steady
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= steady() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_the_epoch_follows_corrections() -> None:
    """What the wall clock makes of a steady moment changes when it is set."""
    steady, wall = Clock(50.0), Clock(1_000.0)
    clocks = Clocks(steady, wall)
    assert clocks.epoch() == 950.0
    wall.now += 5.0
    assert clocks.epoch() == 955.0


class Corrected(Desk):
    """A desk whose wall clock is set apart from the steady one."""

    def __init__(self, *invoices: Sample) -> None:
        super().__init__(*invoices)
        self.wall = Clock()
        self.verifier = Verifier(
            self.loader,
            self.ledger.fetch_at,
            self.memory,
            self.verifier._steps._freshness,
            Clocks(self.clock, self.wall),
        )


@pytest.mark.parametrize("days", [1, 40])
async def test_a_late_time_step_brings_its_dates_into_scope(days: int) -> None:
    """A wall clock that was behind and is set right takes today's invoices at once (A6)."""
    desk = Corrected()
    desk.wall.now -= days * DAY
    desk.clock.now += 0.05
    today = {**ABSENT.minimal(), "date": "2026-11-24"}
    assert [e.code for e in (await desk.ask(today)).errors] == ["date_in_future"]
    desk.wall.now = NOON
    desk.clock.now += 0.05
    assert (await desk.ask(today)).verdict == "pending"


async def test_a_wall_clock_that_is_set_back_takes_its_dates_out_of_scope() -> None:
    """One that was ahead no longer takes tomorrow's invoices once it is set right (A6)."""
    desk = Corrected()
    desk.wall.now += DAY
    desk.clock.now += 0.05
    tomorrow = {**ABSENT.minimal(), "date": "2026-11-25"}
    assert (await desk.ask(tomorrow)).verdict == "pending"
    desk.wall.now = NOON
    desk.clock.now += 0.05
    assert [e.code for e in (await desk.ask(tomorrow)).errors] == ["date_in_future"]


@pytest.mark.parametrize("step", [-10 * DAY, 10 * DAY])
async def test_a_time_step_makes_nothing_stale_and_nothing_fresh(step: float) -> None:
    """How old a state is goes by the steady clock alone (A6)."""
    desk = Corrected(INVOICE)
    await desk.ask(INVOICE.minimal())
    desk.wall.now += step
    desk.clock.now += 0.05
    assert (await desk.ask({**INVOICE.minimal(), "date": "2026-03-02"})).source == "cache"
    desk.wall.now = NOON
    desk.clock.now += 3.0
    assert (await desk.ask(INVOICE.minimal())).source == "replica"
