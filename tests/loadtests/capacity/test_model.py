from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from loadtests.capacity import fit, model
from loadtests.capacity.model import BadModel, far
from tests.loadtests.capacity import made


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every number and note, into a folder that was not there."""
    made_model = fit.fit(made.runs((1, 2), 1), {"bad": "void: late"}, draws=4)
    file = tmp_path / "new" / model.FILE
    model.write(made_model, file)
    assert model.read(file) == made_model


def test_kinds_of_an_endpoint_begin_with_most_hits() -> None:
    """So that the first is warm and the last is cold."""
    found = fit.fit(made.runs((1, 2), 1), {}, draws=0).of("single")
    assert list(found) == ["single_cached", "single_uncached"]


def test_no_model_is_said(tmp_path: Path) -> None:
    """With how to make one."""
    with pytest.raises(BadModel, match=r"No such file.*capacity measure and fit"):
        model.read(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["{", '{"kinds": {}}', "[]"])
def test_what_is_no_model_is_said(tmp_path: Path, text: str) -> None:
    """The file is named."""
    file = tmp_path / "odd.json"
    file.write_text(text)
    with pytest.raises(BadModel, match=r"odd\.json: "):
        model.read(file)


def test_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    """Its numbers may mean something else."""
    file = tmp_path / model.FILE
    newer = msgspec.structs.replace(fit.fit(made.runs((1,), 1), {}, draws=0), format=2)
    model.write(newer, file)
    with pytest.raises(BadModel, match="expected format 1, got 2"):
        model.read(file)


def test_twice_what_was_measured_is_not_far() -> None:
    """A little more is, and is said with both numbers."""
    assert far("workers", 8, 4) is None
    said = far("workers", 10, 4)
    assert said == "workers: 10 is 2.5 times the most that was measured (4)"
