from __future__ import annotations

import msgspec
import pytest

from loadtests.capacity import costs
from loadtests.capacity.costs import Costs
from loadtests.capacity.observed import Observed
from tests.loadtests.capacity import made


@pytest.fixture(scope="module")
def every() -> list[Observed]:
    """All kinds of runs, with noise of 1 %."""
    return made.runs((1, 2), noise=0.01)


@pytest.fixture(scope="module")
def fitted(every: list[Observed]) -> Costs:
    """Their costs."""
    return costs.fit(every, draws=60)


def test_exact_runs_give_every_cost() -> None:
    """To a few per cent: answers come in whole numbers of requests."""
    found = costs.fit(made.runs((1, 2), noise=0.0), draws=0)
    assert not found.unknown_of_workers
    for term, cost in made.WORKERS.items():
        assert found.workers[term].value == pytest.approx(cost, rel=0.05), term
    for term, cost in made.DATABASES.items():
        assert found.databases[term].value == pytest.approx(cost, rel=0.05), term


def test_noisy_runs_give_what_matters(fitted: Costs) -> None:
    """The cost of a question, of an item, and what misses add to them, within 20 %."""
    for term in ("single", "item", "single_miss", "bulk_miss"):
        assert fitted.workers[term].value == pytest.approx(made.WORKERS[term], rel=0.2), term


def test_bands_have_the_truth_in_them(fitted: Costs) -> None:
    """In at least ten of twelve: a band of 90 % misses one in ten."""
    pairs = [(fitted.workers[term], cost) for term, cost in made.WORKERS.items()]
    pairs += [(fitted.databases[term], cost) for term, cost in made.DATABASES.items()]
    assert sum(band.low <= cost <= band.high for band, cost in pairs) >= 10


def test_no_cost_is_negative(fitted: Costs) -> None:
    """At no end of a band."""
    for band in (*fitted.workers.values(), *fitted.databases.values()):
        assert 0 <= band.low <= band.value <= band.high


def test_what_was_not_asked_has_no_cost(every: list[Observed]) -> None:
    """Without streams, a line costs nobody knows what."""
    found = costs.fit([run for run in every if run.kind != "stream"], draws=0)
    assert "line" not in found.workers
    assert found.unknown_of_workers["line"] == "these runs had none"


def test_what_cannot_be_told_apart_is_not(every: list[Observed]) -> None:
    """With one share of hits, misses grow with questions, and the questions have them in them."""
    cached = [run for run in every if run.kind == "single_cached"]
    found = costs.fit(cached, draws=0)
    assert "single_miss" not in found.workers
    assert found.unknown_of_workers["single_miss"].startswith("in these runs it grew with single")
    whole = made.WORKERS["single"] + 0.02 * made.WORKERS["single_miss"]
    assert found.workers["single"].value == pytest.approx(whole, rel=0.1)


def test_cpu_of_other_runs_is_predicted(fitted: Costs) -> None:
    """Of runs that were not fitted, within 10 % in each stage."""
    for run in made.runs((1, 2), seed=7, noise=0.01):
        for sample in run.samples:
            if sample.prompt and sample.workers_cpu:
                found = fitted.cores(costs.columns(run, sample), run.workers)
                assert found == pytest.approx(sample.workers_cpu, rel=0.1), (run.label, sample)


def test_a_busy_worker_is_woken_less_often() -> None:
    """A request is the dearer the less there is to do."""
    few, many = ({"single": rate, "wake": rate} for rate in (100.0, 5_000.0))
    known = made.costs()
    assert known.cores(few, 1) / 100 > 1.4 * known.cores(many, 1) / 5_000


def test_cpu_by_hand() -> None:
    """1,000 singles: c = 0.12 + 0.02 + 0.1 × (1 − c), so c = 0.24 ÷ 1.1."""
    columns = {"single": 1_000.0, "poll": 1.0, "wake": 1_000.0}
    assert made.costs().cores(columns, 1) == pytest.approx(0.24 / 1.1)


def test_a_part_of_a_core_is_awake_the_more() -> None:
    """With half a core: c = 0.14 + 0.1 × (1 − c ÷ 0.5), so c = 0.24 ÷ 1.2."""
    columns = {"single": 1_000.0, "poll": 1.0, "wake": 1_000.0}
    assert made.costs().cores(columns, 0.5) == pytest.approx(0.24 / 1.2)


def test_costs_of_workers_with_a_part_of_a_core() -> None:
    """The same as those of workers with a whole one: what differs is how long they sleep."""
    runs = made.runs((1, 2), noise=0.0)
    part = [msgspec.structs.replace(run, workers=2 * run.workers, cores_each=0.5) for run in runs]
    known, found = (costs.fit(each, draws=0).workers for each in (runs, part))
    # There are twice as many workers to poll.
    assert found["poll"].value == pytest.approx(known["poll"].value / 2)
    for name in ("single", "item", "wake"):
        assert found[name].value == pytest.approx(known[name].value)


def test_workers_have_no_more_than_their_cores() -> None:
    """Whatever is asked of them."""
    assert made.costs().cores({"single": 1e9, "wake": 1e9}, 2) == 2


def test_without_cpu_there_is_nothing_to_fit(every: list[Observed]) -> None:
    """A service of which nobody counted the CPU."""
    with pytest.raises(ValueError, match="expected stages with prompt answers and their CPU"):
        costs.fit([])
