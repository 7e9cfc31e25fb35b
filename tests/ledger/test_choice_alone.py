"""Tests of the choice of a database and of the report, over databases that are made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from verifier.database.timelines import Timelines
from verifier.errors import Unavailable
from verifier.ledger.lookup.choice import choose, choose_at_least
from verifier.ledger.lookup.dating import UNDATED, Dating
from verifier.ledger.lookup.gate import Grant
from verifier.ledger.lookup.observer import Sight
from verifier.ledger.lookup.probes import Probe
from verifier.ledger.lookup.status import DatabaseStatus, RegionStatus, report
from verifier.ledger.lookup.targets import Target
from verifier.state import Position, Reading

DAY = 86_400.0
# 2026-03-01T00:00:00Z.
MOMENT = 1_772_323_200.0
# What a state without lag would be dated.
CURRENT = 20.0


class FakeTarget:
    """A database in a state that the test sets; its channels are numbers."""

    def __init__(
        self,
        name: str = "replica-1",
        as_of: float | None = 10.0,
        *,
        free: int = 1,
        busy: int = 0,
        serving: bool = True,
        settling: bool = False,
        position: Position | None = None,
        watermarks: dict[str, float] | None = None,
    ) -> None:
        self.name = name
        self.serving = serving
        self.settling = settling
        self.free = list(range(free))
        self.busy = set(range(100, 100 + busy))
        self.sight: Sight | None = None
        self.reading = (
            None
            if as_of is None
            else Reading("replica", as_of, watermarks or {}, position=position, epoch=MOMENT)
        )

    def take(self) -> int | None:
        """Take a channel."""
        return self.free.pop() if self.free else None


def as_targets(targets: Sequence[FakeTarget]) -> list[Target]:
    """The same, as what the choice takes."""
    return cast("list[Target]", list(targets))


def named(grant: Grant | None) -> str | None:
    """Whose channel it is."""
    return None if grant is None else grant[0].name


def chosen(
    primary: FakeTarget, *replicas: FakeTarget, oldest: float = 5.0, avoid: FakeTarget | None = None
) -> str | None:
    """Whose channel the next look-up gets."""
    kept = cast("Target | None", avoid)
    return named(choose(cast("Target", primary), as_targets(replicas), oldest, kept))


PRIMARY = "primary"


def test_the_replica_with_the_fewest_queries_is_chosen() -> None:
    """Wherever it stands among the others; of equals the first."""
    one, two, three = (
        FakeTarget("one", busy=2),
        FakeTarget("two", busy=1, free=2),
        FakeTarget("three", busy=1),
    )
    assert chosen(FakeTarget(PRIMARY), one, two, three) == "two"
    assert chosen(FakeTarget(PRIMARY), three, two, one) == "three"


def test_a_state_that_is_just_old_enough_serves() -> None:
    """The bound itself is within the bound; a replica that is older leaves it to the primary."""
    assert chosen(FakeTarget(PRIMARY), FakeTarget("one", 5.0)) == "one"
    assert chosen(FakeTarget(PRIMARY), FakeTarget("one", 4.9)) == PRIMARY
    assert chosen(FakeTarget(PRIMARY), FakeTarget("one", None)) == PRIMARY


def test_a_settled_replica_goes_before_one_that_settles() -> None:
    """One that was too far behind serves before the primary does, and after its equals."""
    settling, settled = FakeTarget("one", settling=True), FakeTarget("two", busy=3)
    assert chosen(FakeTarget(PRIMARY), settling, settled) == "two"
    assert chosen(FakeTarget(PRIMARY), settling) == "one"


def test_a_look_up_waits_for_a_replica_whose_channels_are_taken() -> None:
    """It does not go to the primary, nor to a replica that settles."""
    taken = FakeTarget("one", free=0, busy=1)
    assert chosen(FakeTarget(PRIMARY), taken) is None
    assert chosen(FakeTarget(PRIMARY), taken, FakeTarget("two", settling=True)) is None
    without = FakeTarget("one", free=0)
    assert chosen(FakeTarget(PRIMARY), without) == PRIMARY
    # The last one says nothing about the first.
    assert chosen(FakeTarget(PRIMARY), taken, without) is None


def test_what_does_not_serve_is_passed_over() -> None:
    """So is the one that is to be avoided, as long as there is another."""
    one, two = FakeTarget("one"), FakeTarget("two", busy=1)
    assert chosen(FakeTarget(PRIMARY), one, two, avoid=one) == "two"
    assert chosen(FakeTarget(PRIMARY), FakeTarget("one", serving=False)) == PRIMARY
    primary = FakeTarget(PRIMARY)
    assert chosen(primary, FakeTarget("one", 1.0), avoid=primary) == "one"
    assert chosen(primary, avoid=primary) == PRIMARY


def test_without_the_primary_the_newest_replica_serves() -> None:
    """However old its state: its readings say so; one without a date comes last."""
    primary = FakeTarget(PRIMARY, serving=False)
    replicas = FakeTarget("one", None), FakeTarget("two", 1.0), FakeTarget("three", 2.0)
    assert chosen(primary, *replicas) == "three"
    away = FakeTarget("four", 4.0, serving=False)
    assert chosen(primary, FakeTarget("one", 3.0), away) == "one"
    assert chosen(primary, replicas[0], FakeTarget("two", UNDATED)) in {"one", "two"}
    alone = FakeTarget("one", 3.0)
    assert chosen(primary, alone, avoid=alone) == "one"


def test_without_the_primary_another_replica_is_tried() -> None:
    """The one that is to be avoided is passed over, however much newer its state."""
    newer, older = FakeTarget("newer", 3.0), FakeTarget("older", 1.0)
    assert chosen(FakeTarget(PRIMARY, serving=False), newer, older, avoid=newer) == "older"


def test_without_any_database_there_is_nothing_to_wait_for() -> None:
    """It is refused at once rather than after its deadline."""
    with pytest.raises(Unavailable, match=r"^no_database$"):
        chosen(FakeTarget(PRIMARY, serving=False), FakeTarget("one", serving=False))


def test_the_first_database_that_shows_a_position_serves() -> None:
    """Of those that serve within the bound and have a channel; None when there is none."""
    asked, before = Position(1, 100), Position(1, 99)
    fits = FakeTarget("fits", position=asked)
    passed_over = [
        FakeTarget("away", position=asked, serving=False),
        FakeTarget("unread", None),
        FakeTarget("old", 4.9, position=asked),
        FakeTarget("behind", position=before),
        FakeTarget("taken", position=asked, free=0, busy=1),
    ]
    at_bound = FakeTarget("bound", 5.0, position=asked)

    def first(*targets: FakeTarget, avoid: FakeTarget | None = None) -> str | None:
        kept = cast("Target | None", avoid)
        return named(choose_at_least(as_targets(targets), 5.0, asked, kept))

    assert first(*passed_over, fits, at_bound) == "fits"
    assert first(*passed_over, at_bound) == "bound"
    assert first(*passed_over) is None
    assert first(FakeTarget("one", position=asked), avoid=None) == "one"
    avoided = FakeTarget("avoided", position=asked)
    assert first(avoided, avoid=avoided) is None


def test_the_report_tells_the_newest_state_of_those_that_serve() -> None:
    """Watermarks of the newest reading, in order of region, cut to the moment of that state."""
    older = FakeTarget("older", 10.0, watermarks={"1100": MOMENT})
    newest = FakeTarget("newest", 20.0, watermarks={"1100": MOMENT - 0.5, "3100": MOMENT + 99})
    away = FakeTarget("away", 30.0, serving=False)
    targets = as_targets([older, newest, away])
    said = report(targets, Dating(Timelines()), CURRENT, MOMENT + 25, trusted=True)
    regions = {each.region: each for each in said.regions}
    assert said.trusted is True
    assert list(regions) == sorted(regions)
    assert len(regions) == 36
    assert regions["1100"] == RegionStatus("1100", "北京", MOMENT - 0.5, stated=True)
    assert regions["3100"].complete_until == MOMENT + 20
    assert regions["1200"].stated is False
    assert regions["1200"].complete_until == MOMENT + 20 - DAY


@pytest.mark.parametrize("as_of", [None, UNDATED])
def test_the_report_of_an_unknown_state_goes_by_the_clock(as_of: float | None) -> None:
    """Without a dated reading a region that never set a watermark is complete until a day ago."""
    targets = as_targets([FakeTarget("one", as_of)])
    said = report(targets, Dating(Timelines()), CURRENT, MOMENT + DAY, trusted=False)
    assert said.trusted is False
    assert said.regions[0].complete_until == MOMENT


def test_the_report_tells_each_database_and_its_lag() -> None:
    """Role by what the server said of itself, lag in bytes of log and in seconds."""
    replica, primary, unknown = FakeTarget("a"), FakeTarget("b"), FakeTarget("c", serving=False)
    dating = Dating(Timelines())
    newest = Probe(CURRENT, False, 1, 105, {})
    primary.sight = Sight(newest, dating.primary("7", newest), anew=False, measured=True)
    passed = Probe(CURRENT, True, 1, 100, {})
    replica.sight = Sight(passed, CURRENT - 1.25, anew=False, measured=True)
    said = report(as_targets([replica, primary, unknown]), dating, CURRENT, MOMENT, trusted=True)
    assert said.databases == [
        DatabaseStatus("a", "replica", serving=True, lag_bytes=5, lag_seconds=1.25),
        DatabaseStatus("b", "primary", serving=True, lag_bytes=0, lag_seconds=0.0),
        DatabaseStatus("c", "unknown", serving=False, lag_bytes=None, lag_seconds=None),
    ]
