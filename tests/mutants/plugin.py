"""A plugin of pytest's for runs with mutants: repeatable, and without servers unless asked for."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """Have hypothesis try the same few examples each time, however slow the machine is."""
    settings.register_profile(
        "mutants",
        max_examples=50,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")


def needs_cluster(item: pytest.Item) -> bool:
    """Whether a test starts servers: asks for their fixture, not for a parameter of that name."""
    if not isinstance(item, pytest.Function) or "cluster" not in item.fixturenames:
        return False
    return "cluster" not in (item.callspec.params if hasattr(item, "callspec") else ())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without POSTGRES keep the tests that start no server: each mutant would start its own."""
    if os.environ.get("POSTGRES"):
        return
    slow = [item for item in items if needs_cluster(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
