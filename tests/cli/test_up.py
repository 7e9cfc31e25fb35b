"""What ``verifier up`` refuses before it starts anything."""

from __future__ import annotations

import pytest

from verifier.cli import up
from verifier.config import Config
from verifier.errors import ConfigError


@pytest.mark.parametrize(
    ("workers", "replicas", "connections"), [(2, 2, 36), (45, 2, 380), (45, 0, 472), (256, 8, 2068)]
)
def test_servers_admit_what_the_workers_take(workers: int, replicas: int, connections: int) -> None:
    """Any number of workers that may be asked for has its connections by default (B13)."""
    assert up._connections(Config(), workers, replicas) == connections


def test_too_many_connections_are_refused_with_the_sum() -> None:
    """Workers that would take more than a server should admit are refused (B13)."""
    with pytest.raises(ConfigError) as refused:
        up._connections(Config.of(read_connections=64), 100, 2)
    said = str(refused.value)
    assert "--workers 100" in said
    assert "(100 workers + 1 being replaced) × (64 look-ups + 1 watching) + 12 spare = 6577" in said
    assert "at most 2100" in said
    assert "VERIFIER_READ_CONNECTIONS" in said
