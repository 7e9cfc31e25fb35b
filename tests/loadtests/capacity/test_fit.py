from __future__ import annotations

import pytest

from loadtests.capacity import fit as fitting
from loadtests.capacity.fit import NotEnough, usable
from loadtests.capacity.model import Model
from loadtests.result import Result
from tests.loadtests.capacity import made


@pytest.fixture(scope="module")
def fitted() -> Model:
    """All runs with 1 to 4 workers."""
    return fitting.fit(made.runs(), {}, draws=10)


def test_every_kind_has_its_law(fitted: Model) -> None:
    """One worker's rate within 5 %."""
    assert set(fitted.kinds) == set(made.KINDS)
    for name, truth in made.KINDS.items():
        assert fitted.kinds[name].law.fitted.rate == pytest.approx(truth.law.rate, rel=0.05)


def test_every_kind_knows_its_hits(fitted: Model) -> None:
    """At the stage that did most."""
    for name, truth in made.KINDS.items():
        assert fitted.kinds[name].hit == pytest.approx(truth.hit)


def test_every_kind_has_its_curve(fitted: Model) -> None:
    """p99 at 70 % of what is held, within 15 %."""
    for name, truth in made.KINDS.items():
        curve = fitted.kinds[name].curve
        assert curve is not None
        assert curve.fitted.at(0.7) == pytest.approx(truth.shape.at(0.7), rel=0.15)


def test_stages_past_the_knee_are_not_in_the_curve(fitted: Model) -> None:
    """They have no steady state: seven of eight stages of each of eight runs are."""
    curve = fitted.kinds["single_cached"].curve
    assert curve is not None
    assert len(curve.stages) == 7 * 8


def test_the_model_says_what_it_rests_on(fitted: Model) -> None:
    """Runs, commits, machine, memory of one worker."""
    made_of = fitted.provenance
    assert len(made_of.runs) == 2 * (4 * 4 + 3)
    assert (made_of.commits, made_of.replicas) == (("0123abc",), 1)
    assert made_of.environment["cores"] == 8
    assert made_of.resident_bytes == 90_000_000


def test_all_that_can_be_known_leaves_no_note(fitted: Model) -> None:
    """Enough runs of every kind."""
    assert fitted.notes == ()


def test_what_few_runs_do_not_show_is_noted() -> None:
    """One worker tells neither σ nor κ, one run has no band, and nothing was refused."""
    notes = "\n".join(fitting.fit(made.runs((1,), 1)[:1], {}, draws=10).notes)
    assert "single_cached: measured with 1 worker, so σ and κ are not known" in notes
    assert "single_cached: no more runs than parameters, so its law has no band" in notes
    assert "CPU of workers, refused: unknown, these runs had none" in notes
    assert "CPU of databases, bulk_miss: unknown, these runs had none" in notes


def test_unfit_runs_are_left_out_with_their_reason() -> None:
    """The others are used."""
    void = made.step_run("single_cached", 1)
    void.void = "late"
    good = ("good", made.step_run("single_cached", 1))
    runs, left_out = usable([good, ("bad", void)])
    assert [run.label for run in runs] == ["good"]
    assert left_out == {"bad": "void: late"}


def test_runs_without_steps_make_no_model() -> None:
    """And it is said why others do not count."""
    with pytest.raises(NotEnough, match=r"expected runs with steps up to the knee.*; bad: late"):
        fitting.fit([run for run in made.runs((1,), 1) if run.kind == "idle"], {"bad": "late"})


def test_a_service_that_says_nothing_of_itself_makes_no_model() -> None:
    """Without /metrics nobody knows the share of hits."""
    run: Result = made.step_run("single_cached", 1)
    for window in run.windows:
        window.service = None
    runs, _ = usable([("deaf", run)])
    with pytest.raises(NotEnough, match="expected cache hits in the service's numbers"):
        fitting.fit(runs, {})
