from __future__ import annotations

import msgspec
import pytest

from loadtests.capacity.sizing import Load, Site, Spent, TooMuch, headroom, size, work_of

LOAD = Load(singles=40_000, items=10_000, hit=0.6)
SPENT = Spent(
    single=200e-6,
    single_miss=50e-6,
    item=10e-6,
    item_miss=5e-6,
    probe=0.0,
    probes=8.0,
    key_single=60e-6,
    key_bulk=15e-6,
    probed=0.0,
)
SITE = Site(zones=3, busy=0.5)


def test_work_by_hand() -> None:
    """40,000 × (200 + 0.4 × 50) µs + 10,000 × (10 + 0.4 × 5) µs are 8.92 workers."""
    assert work_of(LOAD, SPENT) == pytest.approx(8.8 + 0.12)


def test_pods_by_hand() -> None:
    """8.92 ÷ 0.5 are 18 workers without a zone: 9 in each of two, and 9 in the third."""
    found = size(LOAD, SPENT, SITE)
    assert (found.left, found.pods_a_zone, found.pods) == (18, 9, 27)
    assert found.utilisation == pytest.approx(8.92 / 27)
    assert found.utilisation_without_a_zone == pytest.approx(8.92 / 18)


def test_one_zone_has_nothing_to_spare() -> None:
    """18 workers, and one replica."""
    found = size(LOAD, SPENT, msgspec.structs.replace(SITE, zones=1))
    assert (found.pods, found.replicas) == (18, 1)
    assert found.utilisation == found.utilisation_without_a_zone


def test_two_zones_have_everything_twice() -> None:
    """18 workers in each, and a replica on both sides, for the primary's may be the one left."""
    found = size(LOAD, SPENT, msgspec.structs.replace(SITE, zones=2))
    assert (found.pods, found.replicas) == (36, 2)


def test_pods_of_several_workers_are_fewer() -> None:
    """18 workers are 5 pods of 4 without a zone: 3 a zone."""
    found = size(LOAD, SPENT, msgspec.structs.replace(SITE, workers_a_pod=4))
    assert (found.pods_a_zone, found.pods, found.workers) == (3, 9, 36)


def test_headroom_by_hand() -> None:
    """18 workers at 0.5 carry 9.0 of 8.92."""
    found = size(LOAD, SPENT, SITE)
    assert headroom(LOAD, SPENT, SITE, found) == pytest.approx(9 / 8.92 - 1)


def test_headroom_is_lacking_where_costs_are_higher() -> None:
    """The same pods, with questions that cost twice as much, carry half."""
    found = size(LOAD, SPENT, SITE)
    dear = msgspec.structs.replace(SPENT, single=400e-6, single_miss=100e-6)
    assert headroom(LOAD, dear, SITE, found) < -0.4


def test_reading_by_hand() -> None:
    """0.4 × (40,000 × 60 + 10,000 × 15) µs are 1.02 cores, which one replica of two carries."""
    found = size(LOAD, SPENT, SITE)
    assert found.reading == pytest.approx(1.02)
    assert found.replicas == 2


def test_replicas_carry_the_look_ups_without_a_zone() -> None:
    """10.2 cores, at 2 each, are six; a zone of nine takes three with it, one of eight as well."""
    found = size(msgspec.structs.replace(LOAD, singles=400_000, items=100_000), SPENT, SITE)
    assert found.reading == pytest.approx(10.2)
    assert found.replicas == 9


def test_polls_beyond_those_measured_cost_workers() -> None:
    """16 clusters of 3 servers every 0.5 s are 96 probes, 88 of them new, of 300 µs: 2.64 %."""
    spent = msgspec.structs.replace(SPENT, probe=300e-6)
    site = msgspec.structs.replace(SITE, clusters=16, probe_interval=0.5)
    found = size(LOAD, spent, site)
    assert found.polling == pytest.approx(0.0264)
    # 8.92 ÷ (0.5 − 0.0264) = 18.8.
    assert found.left == 19


def test_polls_take_room_from_replicas() -> None:
    """27 workers ÷ 0.25 s × 10 ms are 1.08 cores, and 0.92 of 2 are left for 1.02 of look-ups."""
    found = size(LOAD, msgspec.structs.replace(SPENT, probed=0.01), SITE)
    assert found.polled == pytest.approx(1.08)
    assert found.replicas == 3


def test_the_plan_for_the_country_is_the_same_arithmetic() -> None:
    """36 workers, as docs/scale.md had them before this model: 10.9 ÷ (0.5 × 2/3 − 0.03)."""
    load = Load(singles=20_000, items=1_000_000, hit=0.0)
    spent = Spent(
        single=55.3e-6,
        single_miss=0.0,
        item=9.77e-6,
        item_miss=0.0,
        probe=309e-6,
        probes=0.0,
        key_single=61.9e-6,
        key_bulk=15.6e-6,
        probed=756e-6,
    )
    found = size(load, spent, Site(zones=3, busy=0.5, clusters=16, probe_interval=0.5))
    assert (found.pods, found.replicas) == (36, 2)
    assert found.reading == pytest.approx(16.8, abs=0.1)
    assert found.polled == pytest.approx(0.054, abs=0.001)


def test_polls_that_take_all_are_said() -> None:
    """A worker that does nothing but probing serves nobody."""
    spent = msgspec.structs.replace(SPENT, probe=0.01)
    with pytest.raises(TooMuch, match="probes of 300 servers take"):
        size(LOAD, spent, msgspec.structs.replace(SITE, clusters=100))


def test_replicas_that_only_answer_polls_are_said() -> None:
    """Nor does a replica."""
    with pytest.raises(TooMuch, match=r"probes take 10\.8 cores of a replica"):
        size(LOAD, msgspec.structs.replace(SPENT, probed=0.1), SITE)
