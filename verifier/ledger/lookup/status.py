"""The status of the databases in words and numbers, for people and monitors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from verifier.invoice.codes import REGIONS
from verifier.invoice.verdict import complete_until
from verifier.ledger.lookup.targets import UNDATED, Target


def report(
    targets: Sequence[Target], current: float, now: float, *, trusted: bool
) -> dict[str, Any]:
    """Regions with their watermarks, and databases with their lag. Never a DSN.

    ``current`` is the moment (steady clock) that a state without lag has; ``now`` is in seconds
    since the epoch.
    """
    readings = [target.reading for target in targets if target.serving and target.reading]
    newest = max(readings, key=lambda reading: reading.as_of, default=None)
    watermarks = newest.watermarks if newest else {}
    as_of = newest.moment if newest and newest.as_of != UNDATED else now
    return {
        "trusted": trusted,
        "regions": [
            {
                "region": region,
                "name": name,
                "complete_until": _moment(complete_until(watermarks.get(region), as_of)),
                "set": region in watermarks,
            }
            for region, name in sorted(REGIONS.items())
        ],
        "databases": [_database(target, current) for target in targets],
    }


def _database(target: Target, current: float) -> dict[str, Any]:
    behind, seconds = target.lag(current) or (None, None)
    known = target.probe
    role = "unknown" if known is None else "replica" if known.in_recovery else "primary"
    return {
        "name": target.name,
        "role": role,
        "serving": target.serving,
        "lag_bytes": behind,
        "lag_seconds": None if seconds is None else round(seconds, 3),
    }


def _moment(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
