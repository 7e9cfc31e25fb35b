"""The status of the databases, in numbers; the API says it to people and monitors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from verifier.invoice.codes import REGIONS
from verifier.invoice.verdict import complete_until
from verifier.ledger.lookup.dating import UNDATED, Dating
from verifier.ledger.lookup.targets import Target


class RegionStatus(msgspec.Struct, frozen=True):
    """Until when a region is complete, in seconds since the epoch.

    ``stated`` is false where no watermark was set, and a default stands for it.
    """

    region: str
    name: str
    complete_until: float
    stated: bool


class DatabaseStatus(msgspec.Struct, frozen=True):
    """What is known of a database; its lag, in bytes and seconds, is None while that is not."""

    name: str
    role: Literal["primary", "replica", "unknown"]
    serving: bool
    lag_bytes: int | None
    lag_seconds: float | None


class Status(msgspec.Struct, frozen=True):
    """Regions with their watermarks, and databases with their lag. Never a DSN.

    ``trusted`` says whether some database shows a state that a question asked now may rest on.
    """

    trusted: bool
    regions: list[RegionStatus]
    databases: list[DatabaseStatus]


def report(
    targets: Sequence[Target], dating: Dating, current: float, now: float, *, trusted: bool
) -> Status:
    """The status of these databases.

    ``current`` is the moment (steady clock) that a state without lag has; ``now`` is in seconds
    since the epoch.
    """
    readings = [target.reading for target in targets if target.serving and target.reading]
    newest = max(readings, key=lambda reading: reading.as_of, default=None)
    watermarks = newest.watermarks if newest else {}
    as_of = newest.moment if newest and newest.as_of != UNDATED else now
    regions = [
        RegionStatus(
            region, name, complete_until(watermarks.get(region), as_of), region in watermarks
        )
        for region, name in sorted(REGIONS.items())
    ]
    databases = [_database(target, dating, current) for target in targets]
    return Status(trusted, regions, databases)


def lag_of(target: Target, dating: Dating, current: float) -> tuple[int, float] | None:
    """How far a database is behind the primary (``Dating.lag``), None while that is unknown."""
    sight = target.sight
    return None if sight is None else dating.lag(sight.probe, sight.as_of, current)


def _database(target: Target, dating: Dating, current: float) -> DatabaseStatus:
    lag_bytes, lag_seconds = lag_of(target, dating, current) or (None, None)
    probe = None if target.sight is None else target.sight.probe
    return DatabaseStatus(
        target.name,
        "unknown" if probe is None else "replica" if probe.in_recovery else "primary",
        target.serving,
        lag_bytes,
        lag_seconds,
    )
