"""Results to report on, made once: tests only read them."""

from __future__ import annotations

import pytest

from loadtests.result import Result
from tests.loadtests import samples


@pytest.fixture(scope="package")
def steps() -> Result:
    """A run in steps, small but of the shape of a large one."""
    return samples.step_run(scale=0.1)


@pytest.fixture(scope="package")
def peak() -> Result:
    """Stages of several classes, with events."""
    return samples.with_events(samples.peak_hour())


@pytest.fixture(scope="package")
def dead() -> Result:
    """A run against a service that was not there."""
    return samples.dead(samples.peak_hour(seconds=4))
