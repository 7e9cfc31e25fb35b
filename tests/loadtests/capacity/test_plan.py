from __future__ import annotations

import msgspec
import pytest

from loadtests.capacity.costs import Costs
from loadtests.capacity.estimates import Estimate
from loadtests.capacity.latency import Curve, Shape, Stage
from loadtests.capacity.model import Kind, Model, Provenance
from loadtests.capacity.plan import Wanted, plan, pod
from loadtests.capacity.spending import NoPlan
from loadtests.capacity.told import told
from loadtests.capacity.usl import Law, Parameters, Point
from loadtests.report.words import duration
from tests.loadtests.capacity import made
from verifier.config import Config

CONFIG = Config()
WANTED = Wanted(rate=50_000, bulk_share=0.2, hit=0.6, p99=0.05)


def kind(endpoint: str, items: int, hit: float, rate: float, *, shape: Shape) -> Kind:
    """A kind whose one worker does ``rate``; draws are 10 % to both sides of it."""
    draws = tuple(Parameters(rate * factor, 0.1, 0.01) for factor in (0.9, 1.1))
    stages = tuple(Stage(load, shape.at(load)) for load in (0.1, 0.5, 0.9, 1.0))
    law = Law(Parameters(rate, 0.1, 0.01), 3, draws, (Point(1, rate), Point(4, 3 * rate)))
    return Kind(endpoint, items, hit, law, Curve(shape, (), stages))


MODEL = Model(
    kinds={
        "single_cached": kind("single", 1, 1.0, 5_000, shape=Shape(0.004, 0.01, 1.2)),
        "single_uncached": kind("single", 1, 0.0, 4_000, shape=Shape(0.01, 0.02, 1.2)),
        "batch_cached": kind("batch", 1_000, 1.0, 200_000, shape=Shape(0.05, 0.1, 1.2)),
        "batch_uncached": kind("batch", 1_000, 0.0, 100_000, shape=Shape(0.1, 0.2, 1.2)),
    },
    costs=made.costs(),
    provenance=Provenance(
        ("a", "b"), {}, ("0123abc",), "2026-11-15", "2026-11-15", {}, 1, 90_000_000
    ),
)


def without(*names: str) -> Model:
    """The model without some kinds."""
    kinds = {name: each for name, each in MODEL.kinds.items() if name not in names}
    return msgspec.structs.replace(MODEL, kinds=kinds)


def changed(**fields: object) -> Wanted:
    """What is wanted, otherwise."""
    return msgspec.structs.replace(WANTED, **fields)


def test_work_and_pods_by_hand() -> None:
    """A worker is busy for 200 µs with a known single and 50 more with a miss, 5 + 5 µs an item.

    40,000 × 220 µs + 10,000 × 7 µs are 8.87 workers; at 70 % and without the 1 % of its polls,
    those are 13: 7 in each of the two zones that are left, 21 in all.
    """
    found = plan(MODEL, WANTED, CONFIG)
    assert found.size.work == pytest.approx(8.87)
    assert found.busy.value == pytest.approx(0.7)
    # 3 servers where 2 were measured are 4 more probes a second, of 20 ms ÷ 8.
    assert found.size.polling == pytest.approx(0.01)
    assert (found.size.left, found.size.pods) == (13, 21)


def test_p99_lowers_the_utilisation_that_is_allowed() -> None:
    """Of 20 ms, a cold single takes 10 alone, so that 1.2 × 10 ÷ (20 + 10) may be in use."""
    found = plan(MODEL, changed(p99=0.02), CONFIG)
    assert found.busy.value == pytest.approx(0.4)
    assert found.size.pods > plan(MODEL, WANTED, CONFIG).size.pods


def test_headroom_without_a_zone_by_hand() -> None:
    """14 workers at 0.69 carry 9.66 of 8.87."""
    assert plan(MODEL, WANTED, CONFIG).headroom.value == pytest.approx(9.66 / 8.87 - 1)


def test_bands_have_all_costs_at_one_end() -> None:
    """10 % more or less of each rate are 11 % more work, or 9 % less."""
    found = plan(MODEL, WANTED, CONFIG)
    assert found.most.work == pytest.approx(8.87 / 0.91, rel=0.01)
    assert found.least.work == pytest.approx(8.87 / 1.09, rel=0.01)
    assert found.least.pods <= found.size.pods <= found.most.pods
    assert found.headroom.low < found.headroom.value < found.headroom.high


def test_cpu_that_is_used_comes_from_the_costs() -> None:
    """Wake-ups included, and less than what is requested."""
    found = plan(MODEL, WANTED, CONFIG)
    columns = {
        "single": 40_000.0,
        "item": 10_000.0,
        "single_miss": 16_000.0,
        "bulk_miss": 4_000.0,
        "poll": 21.0,
        "wake": 40_010.0,
    }
    assert found.cores.value == pytest.approx(made.costs().cores(columns, 21))
    assert found.cores.value < found.size.workers


def test_replicas_read_what_memory_lacks() -> None:
    """0.4 × (40,000 × 40 + 10,000 × 7) µs are 0.668 cores."""
    assert plan(MODEL, WANTED, CONFIG).size.reading == pytest.approx(0.668)


def test_connections_are_those_that_workers_take() -> None:
    """21 workers and one that is being replaced, 4 look-ups and one that watches, 12 spare."""
    found = plan(MODEL, WANTED, CONFIG)
    assert found.to_replica.connections == 22 * 5 + 12
    assert found.to_primary.connections == 22 * 8 + 12


def test_memory_by_hand() -> None:
    """90 MB and 811 bytes for each of 200,000 invoices; twice that for two workers."""
    assert plan(MODEL, WANTED, CONFIG).memory == 90_000_000 + 200_000 * 811
    twice = plan(MODEL, changed(workers_a_pod=2), CONFIG)
    assert twice.memory == 2 * (90_000_000 + 200_000 * 811)


def test_workers_of_a_pod_contend() -> None:
    """Four in a pod do less than four pods of one: σ and κ count within a machine."""
    four = plan(MODEL, changed(workers_a_pod=4), CONFIG)
    assert four.size.work == pytest.approx(8.87 * (1 + 0.1 * 3 + 0.01 * 12))


def test_contention_of_all_is_told() -> None:
    """By a law that peaks at 9.5 workers, no number does 50,000/s; without σ and κ, 13 do."""
    assert plan(MODEL, WANTED, CONFIG).if_contending is None
    kinds = {
        name: msgspec.structs.replace(
            each,
            law=msgspec.structs.replace(
                each.law, fitted=Parameters(each.law.fitted.rate), draws=()
            ),
        )
        for name, each in MODEL.kinds.items()
    }
    free = msgspec.structs.replace(MODEL, kinds=kinds)
    assert plan(free, WANTED, CONFIG).if_contending == 13


def test_rates_beyond_twice_what_was_measured_are_flagged() -> None:
    """40,000 of 15,000 are; 16,000 are not."""
    said = " ".join(plan(MODEL, WANTED, CONFIG).warnings)
    assert "single questions a second: 40,000 is 2.7 times the most that was measured" in said
    assert plan(MODEL, changed(rate=20_000.0), CONFIG).warnings == ()


def test_flags_are_in_the_first_line() -> None:
    """Nobody reads a plan to its end."""
    text = told(plan(MODEL, WANTED, CONFIG), MODEL, CONFIG)
    assert "**extrapolated**" in text.splitlines()[0]
    near = changed(rate=20_000.0)
    assert "extrapolated" not in told(plan(MODEL, near, CONFIG), MODEL, CONFIG).splitlines()[0]


def test_connections_beyond_twice_what_was_measured_are_flagged() -> None:
    """Many workers on little load: with 100 pods a replica has what nobody has seen."""
    small = changed(rate=20_000.0, most=0.1)
    assert any("connections to a replica" in text for text in plan(MODEL, small, CONFIG).warnings)


def test_more_workers_a_pod_than_twice_those_measured_are_refused() -> None:
    """A law of four says nothing of nine in a pod."""
    with pytest.raises(NoPlan, match=r"--workers-per-pod: expected at most 2 times the 4 .* got 9"):
        plan(MODEL, changed(workers_a_pod=9), CONFIG)


def test_hits_outside_of_what_was_measured_are_flagged() -> None:
    """Only cold questions were measured, and most are to be in memory."""
    cold = without("single_cached", "batch_cached")
    said = " ".join(plan(cold, WANTED, CONFIG).warnings)
    assert "--hit 0.6: single questions a second were measured with 0% to 0% in memory" in said


def test_costs_that_are_not_known_are_flagged() -> None:
    """And count for nothing."""
    known = made.costs()
    costs = Costs(known.workers, {"poll": Estimate(0.01, 0.01, 0.01)}, {}, {})
    found = plan(msgspec.structs.replace(MODEL, costs=costs), WANTED, CONFIG)
    assert "CPU of databases: single_miss and bulk_miss unknown" in " ".join(found.warnings)
    assert found.size.reading == 0


def test_a_budget_below_a_lone_question_is_refused() -> None:
    """With what it takes, and by its option."""
    with pytest.raises(NoPlan, match=r"--p99: expected more than 10 ms.*single_uncached.*got 5 ms"):
        plan(MODEL, changed(p99=0.005), CONFIG)


def test_bulk_without_a_measured_batch_is_refused() -> None:
    """By its option."""
    model = without("batch_cached", "batch_uncached")
    with pytest.raises(NoPlan, match="--bulk-share: expected a model with a kind of batch"):
        plan(model, WANTED, CONFIG)
    assert plan(model, changed(bulk_share=0.0), CONFIG).size.pods > 0


def test_a_plan_tells_every_assumption() -> None:
    """Zones, utilisation, hits, batches, bytes, polls, connections, cores, and what is unknown."""
    model = msgspec.structs.replace(MODEL, notes=("CPU of workers, line: unknown",))
    text = told(plan(model, WANTED, CONFIG), model, CONFIG)
    for said in (
        "one of 3 zones may be gone",
        "at most 70 %",
        "60 % are in memory",
        "20 % of them come in batches of 1,000",
        "811 bytes",
        "every 0.25 s (VERIFIER_PROBE_INTERVAL)",
        "4 connections to each replica (VERIFIER_READ_CONNECTIONS)",
        "a replica has 4 cores, half of which may be used",
        "bulk does not hold up single questions",
        "not known: CPU of workers, line: unknown",
        "(21 workers + 1 being replaced) × (4 look-ups + 1 watching) + 12 spare = 122",
    ):
        assert said in text


def test_a_pod_for_the_simulation_is_one_of_the_plan() -> None:
    """Full up to what p99 allows, 1.2 × 40 ÷ (20 + 40), of 1 ÷ 220 µs, and within its core."""
    found = pod(MODEL, changed(bulk_share=0.0))
    assert found.capacity == pytest.approx(0.8 / 220e-6)
    assert found.capacity * found.cpu_per_request <= found.cores
    assert found.cpu_per_refusal == pytest.approx(made.WORKERS["refused"])


def test_p99_has_a_band_that_is_told() -> None:
    """It is that of the kind that takes longest, from one of its draws to the other."""
    slow = MODEL.kinds["single_uncached"]
    draws = (Shape(0.009, 0.02, 1.2), Shape(0.012, 0.02, 1.2))
    curve = Curve(Shape(0.01, 0.02, 1.2), draws, slow.curve.stages if slow.curve else ())
    kinds = {**MODEL.kinds, "single_uncached": msgspec.structs.replace(slow, curve=curve)}
    model = msgspec.structs.replace(MODEL, kinds=kinds)
    found = plan(model, WANTED, CONFIG)
    assert found.p99 is not None
    assert found.p99.low < found.p99.value < found.p99.high
    band = f"({duration(found.p99.low)} … {duration(found.p99.high)})"
    assert f"p99 {duration(found.p99.value)} {band}" in told(found, model, CONFIG)
