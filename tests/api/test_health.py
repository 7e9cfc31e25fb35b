"""Tests of what the health routes say."""

from __future__ import annotations

import msgspec
from aiohttp import web

from verifier.api.health import Health
from verifier.ledger.lookup.status import DatabaseStatus, RegionStatus, Status
from verifier.metrics.exposition import Exposition


async def test_freshness_has_moments_as_text_and_seconds_to_the_millisecond() -> None:
    """What the ledger says in numbers is what callers have always read (contract.md §4)."""
    status = Status(
        True,
        [RegionStatus("1100", "北京", 1_764_000_000.5, stated=True)],
        [
            DatabaseStatus("primary", "primary", True, 0, 0.0),
            DatabaseStatus("replica-1", "replica", True, 4_096, 1.23456),
            DatabaseStatus("replica-2", "unknown", False, None, None),
        ],
    )
    health = Health(Exposition(), lambda: True, lambda: True, lambda: status, "on")
    freshness = next(each for each in health.routes() if each.name == "freshness")
    response = await freshness.handler(None)  # type: ignore[arg-type]
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    assert msgspec.json.decode(response.body) == {
        "trusted": True,
        "regions": [
            {
                "region": "1100",
                "name": "北京",
                "complete_until": "2025-11-24T16:00:00.500Z",
                "set": True,
            }
        ],
        "databases": [
            {
                "name": "primary",
                "role": "primary",
                "serving": True,
                "lag_bytes": 0,
                "lag_seconds": 0.0,
            },
            {
                "name": "replica-1",
                "role": "replica",
                "serving": True,
                "lag_bytes": 4_096,
                "lag_seconds": 1.235,
            },
            {
                "name": "replica-2",
                "role": "unknown",
                "serving": False,
                "lag_bytes": None,
                "lag_seconds": None,
            },
        ],
    }
