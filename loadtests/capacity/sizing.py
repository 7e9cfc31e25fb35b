"""Pods and replicas for a load: arithmetic alone, from costs that somebody else has measured.

Also that of docs/scale.md. The peak is met with one zone gone; what the zones hold together is what
has to be left of them, times zones ÷ (zones − 1).
"""

from __future__ import annotations

from math import ceil

import msgspec


class Load(msgspec.Struct, frozen=True):
    """Questions a second: ``singles`` one by one, ``items`` in batches.

    Of both, ``hit`` (0 to 1) are in memory.
    """

    singles: float
    items: float
    hit: float


class Spent(msgspec.Struct, frozen=True):
    """What one of each takes.

    Of a worker, in seconds of its whole capacity: a single question and an item that memory
    answers, what a miss adds to each, and a probe of a database. ``probes`` of a worker and second
    are within the others already. Of a replica, in seconds of a core: the key of a single question,
    one of a batch, and answering a worker's probe.
    """

    single: float
    single_miss: float
    item: float
    item_miss: float
    probe: float
    probes: float
    key_single: float
    key_bulk: float
    probed: float


class Site(msgspec.Struct, frozen=True):
    """How it is built.

    ``busy`` (0 to 1) is the utilisation that a worker may have with a zone gone, ``database_busy``
    that of the ``server_cores`` of a replica. The ledger is divided among ``clusters``, each with a
    primary and at least a replica for every other zone; workers probe all of their servers every
    ``probe_interval`` seconds.
    """

    zones: int
    busy: float
    workers_a_pod: int = 1
    clusters: int = 1
    server_cores: int = 4
    database_busy: float = 0.5
    probe_interval: float = 0.25


class Size(msgspec.Struct, frozen=True):
    """What is needed.

    ``work`` is the load in workers that do nothing else and are never idle, ``polling`` the share
    of each worker that goes into probes beyond those in ``work``. ``left`` workers carry the load
    when a zone is gone. ``replicas`` are those of a cluster; ``reading`` are the cores of all
    clusters' look-ups, ``polled`` those of a replica for probes.
    """

    work: float
    polling: float
    left: int
    pods_a_zone: int
    pods: int
    workers: int
    replicas: int
    reading: float
    polled: float
    utilisation: float
    utilisation_without_a_zone: float


class TooMuch(Exception):
    """No number of pods or replicas is enough; the message says why."""


def size(load: Load, spent: Spent, site: Site) -> Size:
    """What a load needs. TooMuch when polls alone take all that there is."""
    missing = 1 - load.hit
    work = work_of(load, spent)
    reading = missing * (load.singles * spent.key_single + load.items * spent.key_bulk)
    # More replicas are more to probe for the workers, and so more workers, which probe replicas.
    replicas = max(1, site.zones - 1)
    while True:
        polling = _polling(spent, site, replicas)
        room = site.busy - polling
        if room <= 0:
            raise TooMuch(
                f"probes of {site.clusters * (1 + replicas)} servers take {polling:.0%} of a "
                f"worker, which may be busy for {site.busy:.0%}: expected fewer clusters, or a "
                "longer VERIFIER_PROBE_INTERVAL"
            )
        left = max(1, ceil(work / room))
        zones_left = max(1, site.zones - 1)
        pods_a_zone = ceil(left / site.workers_a_pod / zones_left)
        pods = pods_a_zone * site.zones
        workers = pods * site.workers_a_pod
        polled = workers / site.probe_interval * spent.probed
        needed = _replicas(reading / site.clusters, polled, site)
        if needed <= replicas:
            break
        replicas = needed
    still = pods_a_zone * zones_left * site.workers_a_pod
    return Size(
        work=work,
        polling=polling,
        left=left,
        pods_a_zone=pods_a_zone,
        pods=pods,
        workers=workers,
        replicas=replicas,
        reading=reading,
        polled=polled,
        utilisation=work / workers + polling,
        utilisation_without_a_zone=work / still + polling,
    )


def work_of(load: Load, spent: Spent) -> float:
    """A load in workers that do nothing else and are never idle."""
    missing = 1 - load.hit
    single = spent.single + missing * spent.single_miss
    item = spent.item + missing * spent.item_miss
    return load.singles * single + load.items * item


def headroom(load: Load, spent: Spent, site: Site, sized: Size) -> float:
    """How much more than the load the pods of a plan carry with a zone gone; below 0, less.

    0.1 is 10 % more. The costs may be others than those that the plan was made with.
    """
    still = sized.pods_a_zone * max(1, site.zones - 1) * site.workers_a_pod
    room = site.busy - _polling(spent, site, sized.replicas)
    return still * room / work_of(load, spent) - 1


def _polling(spent: Spent, site: Site, replicas: int) -> float:
    """The share of a worker for probes that its other costs do not have in them."""
    probes = site.clusters * (1 + replicas) / site.probe_interval
    return max(0.0, probes - spent.probes) * spent.probe


def _replicas(reading: float, polled: float, site: Site) -> int:
    """Replicas of a cluster that carry ``reading`` cores of look-ups when a zone is gone."""
    room = site.server_cores * site.database_busy - polled
    if room <= 0:
        raise TooMuch(
            f"probes take {polled:.1f} cores of a replica, which has {site.server_cores} and may "
            f"be busy for {site.database_busy:.0%}: expected larger servers, or a longer "
            "VERIFIER_PROBE_INTERVAL"
        )
    replicas = max(1, site.zones - 1)
    while (replicas - _gone(replicas, site.zones)) * room < reading:
        replicas += 1
    return replicas


def _gone(replicas: int, zones: int) -> int:
    """How many of them a zone takes with it, at most."""
    return ceil(replicas / zones) if zones > 1 else 0
