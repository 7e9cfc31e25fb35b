"""Tests of what a probe asks, over a real primary."""

from __future__ import annotations

from typing import Any

from tests.support import Database, connected
from verifier.ledger.lookup.probes import Prober


async def test_watermarks_are_at_least_as_new_as_the_position(ledger: Database) -> None:
    """What is acknowledged just after the position was read already shows in the watermarks."""
    async with connected(ledger.primary_dsn) as reader, connected(ledger.primary_dsn) as writer:
        prober = await Prober.over(reader)
        position = prober._position

        async def then_change() -> Any:
            rows = await position()
            await writer.execute("INSERT INTO region_watermark VALUES ('1100', to_timestamp(1e9))")
            return rows

        prober._position = then_change
        probe = await prober.probe(1.0)
        assert probe.watermarks == {"1100": 1e9}
