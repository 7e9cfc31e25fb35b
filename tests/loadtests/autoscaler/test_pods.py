from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.autoscaler.pods import BadModel, Fleet, PodModel, read_model

MODEL = PodModel(start_seconds=40, drain_seconds=15)
MODELS = st.builds(
    PodModel,
    capacity=st.floats(1, 9_000),
    cpu_per_request=st.floats(20e-6, 100e-6),
    cpu_per_refusal=st.floats(0, 19e-6),
)


@given(MODELS, st.floats(0, 1e6))
def test_a_pod_answers_no_more_than_it_can(model: PodModel, offered: float) -> None:
    """Neither more than is offered, nor than its capacity, nor with more CPU than it has."""
    served = model.served(offered)
    assert 0 <= served <= min(offered, model.capacity)
    used = served * model.cpu_per_request + (offered - served) * model.cpu_per_refusal
    assert served == 0 or used <= model.cores * (1 + 1e-9)
    assert 0 <= model.cpu(offered) <= model.cores


@given(MODELS, st.floats(0, 1))
def test_a_pod_below_capacity_refuses_nothing(model: PodModel, share: float) -> None:
    """What it refuses is exactly 0 then."""
    offered = model.capacity * share
    assert model.served(offered) == offered


def test_refusing_takes_cpu_from_answering() -> None:
    """At 40,000/s, refusals of 10 µs leave 0.6 of a core for answers that cost 90 µs more."""
    assert PodModel().served(40_000) == pytest.approx(0.6 / 90e-6)


def test_served_load_stays_flat_past_saturation() -> None:
    """Where refusing is free, three times the capacity looks like the capacity."""
    model = PodModel(cpu_per_refusal=0.0)
    assert model.served(3 * model.capacity) == model.served(model.capacity)
    assert model.cpu(3 * model.capacity) == model.cpu(model.capacity)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"capacity": 0.0}, "capacity: expected more than 0"),
        ({"capacity": 10_001.0}, r"capacity: expected at most .* \(10000 requests/s\)"),
        ({"cpu_per_refusal": 1.0}, "cpu_per_refusal: expected 0 or more and less"),
        ({"start_seconds": -1.0}, "start_seconds, drain_seconds: expected 0 or more"),
    ],
)
def test_a_pod_that_cannot_be_is_said(changes: dict[str, float], said: str) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=said):
        msgspec.structs.replace(PodModel(), **changes)


def test_a_model_is_read_from_its_fields(tmp_path: Path) -> None:
    """Those that are left out keep their defaults."""
    file = tmp_path / "model.json"
    file.write_text('{"capacity": 5000, "cpu_per_request": 0.00015}')
    assert read_model(file) == PodModel(capacity=5_000, cpu_per_request=150e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"capacity": "many"}', r"model\.json: Expected `float`, got `str` - at `\$\.capacity`"),
        ('{"capacity": -1}', "capacity: expected more than 0"),
        ('{"pods": 3}', "unknown field `pods`"),
        ("{", r"model\.json: Input data was truncated; expected what capacity plan --pod has"),
    ],
)
def test_what_is_no_model_is_said(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file and the field."""
    file = tmp_path / "model.json"
    file.write_text(text)
    with pytest.raises(BadModel, match=said):
        read_model(file)


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(BadModel, match=r"none\.json: No such file"):
        read_model(tmp_path / "none.json")


def test_a_pod_is_ready_after_it_has_started() -> None:
    """Forty seconds after it was asked for, and paid for from the beginning."""
    fleet = Fleet(MODEL, 0, 2)
    fleet.scale(100, 5)
    assert [fleet.ready(now) for now in (100, 139, 140)] == [2, 2, 5]
    assert fleet.paid(100) == 5


def test_a_pod_that_ends_is_paid_for_until_it_has_drained() -> None:
    """It takes no requests from then on."""
    fleet = Fleet(MODEL, 0, 5)
    fleet.scale(100, 2)
    assert fleet.ready(100) == 2
    assert [fleet.paid(now) for now in (100, 114, 115)] == [5, 5, 2]


def test_pods_that_are_not_ready_end_first() -> None:
    """They have nothing to drain."""
    fleet = Fleet(MODEL, 0, 4)
    fleet.scale(100, 8)
    fleet.scale(110, 3)
    assert fleet.ready(110) == 3
    assert fleet.paid(110) == 4


@given(st.lists(st.integers(1, 30), max_size=20))
def test_a_fleet_is_as_large_as_was_asked_for(sizes: list[int]) -> None:
    """All of them, of which some are ready, and no fewer are paid for."""
    fleet = Fleet(MODEL, 0, 3)
    for step, wanted in enumerate(sizes):
        fleet.scale(step * 15, wanted)
        assert len(fleet) == wanted
        assert fleet.ready(step * 15) <= wanted <= fleet.paid(step * 15)
