"""What a load takes, from the fitted model: of workers, of databases, and of CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from loadtests.capacity.estimates import Estimate
from loadtests.capacity.model import Kind, Model
from loadtests.capacity.sizing import Load, Spent
from verifier.config import Config

# At which end of all bands; at the low one everything costs least.
End = Literal["low", "value", "high"]

# Kinds that differ less in hits than this do not tell what a miss costs.
HITS_APART = 0.2


class NoPlan(Exception):
    """The model cannot say; the message names the option, and what is missing."""


def spent(model: Model, load: Load, workers: int, end: End) -> Spent:
    """What one of each takes where so many workers share a pod. NoPlan when there is no such run.

    A worker's capacity is the highest rate that it held, not that at which its core is full.
    """
    single, single_miss = _seconds(model, "single", workers, end) if load.singles else (0.0, 0.0)
    item, item_miss = _seconds(model, "batch", workers, end) if load.items else (0.0, 0.0)
    # Those of the service that was measured, which probed its own servers.
    probes = (1 + model.provenance.replicas) / Config().databases.probe_interval
    databases = model.costs.databases
    return Spent(
        single=single,
        single_miss=single_miss,
        item=item,
        item_miss=item_miss,
        probe=_known(model.costs.workers, "poll", end) / probes,
        probes=probes,
        key_single=_known(databases, "single_miss", end),
        key_bulk=_known(databases, "bulk_miss", end),
        probed=_known(databases, "poll", end) / probes,
    )


def cores(model: Model, load: Load, workers: int, end: End) -> float:
    """Cores that so many workers use for a load."""
    columns = {
        "single": load.singles,
        "item": load.items,
        "single_miss": load.singles * (1 - load.hit),
        "bulk_miss": load.items * (1 - load.hit),
        "poll": float(workers),
        "wake": load.singles + load.items / batch(model),
    }
    return model.costs.cores(columns, workers, end)


def batch(model: Model) -> int:
    """Questions in a batch that was measured; 1 when there was none."""
    return max((kind.items for kind in model.of("batch").values()), default=1)


def _known(costs: Mapping[str, Estimate], term: str, end: End) -> float:
    return float(getattr(costs[term], end)) if term in costs else 0.0


def _seconds(model: Model, endpoint: str, workers: int, end: End) -> tuple[float, float]:
    """Seconds of a worker that a question takes, and that a miss adds: a line through two kinds.

    A worker with a whole core does as much more as it has more of it than those measured.
    """
    kinds = list(model.of(endpoint).values())
    if not kinds:
        option = "--bulk-share" if endpoint == "batch" else "--rate"
        raise NoPlan(f"{option}: expected a model with a kind of {endpoint}, got none of it")
    warm, cold = kinds[0], kinds[-1]
    share = model.provenance.cores_each
    one, other = (share * _each(kind, workers, end) for kind in (warm, cold))
    if warm.hit - cold.hit < HITS_APART:
        return one, 0.0
    miss = max(0.0, (other - one) / (warm.hit - cold.hit))
    return max(0.0, one - miss * (1 - warm.hit)), miss


def _each(kind: Kind, workers: int, end: End) -> float:
    """Seconds of a worker for each question, when so many share a machine."""
    rate = kind.law.at(workers)
    return workers / {"low": rate.high, "value": rate.value, "high": rate.low}[end]
