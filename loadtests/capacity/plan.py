"""How many pods and replicas a load needs, by the model: with bands, and what is extrapolated."""

from __future__ import annotations

import msgspec

from loadtests.autoscaler.pods import PodModel
from loadtests.capacity import spending
from loadtests.capacity.estimates import Estimate
from loadtests.capacity.model import FAR, Model, far
from loadtests.capacity.sizing import Load, Site, Size, Spent, headroom, size, work_of
from loadtests.capacity.spending import HITS_APART, End, NoPlan
from verifier.config import Config
from verifier.database import demand
from verifier.database.demand import Demand

# P10 of docs/performance.md: an invoice in a worker's memory.
ENTRY_BYTES = 811
# What a batch under way takes at most; see VERIFIER_MAX_BATCHES.
BATCH_BYTES = 12_000_000
# A share of hits may lie this far outside of what was measured.
_HITS_BEYOND = 0.05


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of the service: ``rate`` questions a second, ``bulk_share`` of them in batches.

    ``hit`` are in memory, ``p99`` (seconds) is the budget of single questions. ``most`` (0 to 1) is
    the utilisation that is never passed, whatever p99 allows.
    """

    rate: float
    bulk_share: float
    hit: float
    p99: float
    zones: int = 3
    most: float = 0.7
    workers_a_pod: int = 1
    clusters: int = 1
    server_cores: int = 4
    cache_entries: int = Config().memory.cache_entries

    @property
    def load(self) -> Load:
        """The same, as sizing takes it."""
        bulk = self.rate * self.bulk_share
        return Load(self.rate - bulk, bulk, self.hit)


class Plan(msgspec.Struct, frozen=True):
    """The size at the model's values, and at the good and the bad ends of all bands at once.

    ``busy`` is the utilisation that a worker may have with a zone gone, ``headroom`` how much more
    the pods then carry, ``p99`` what a single question then takes; ``cores`` are used at the peak.
    ``if_contending`` pods were needed if pods held each other up as workers of one machine do; None
    when no number were enough. ``memory`` and ``memory_limit`` are bytes of a pod.
    """

    wanted: Wanted
    size: Size
    least: Size
    most: Size
    spent: Spent
    busy: Estimate
    headroom: Estimate
    p99: Estimate | None
    cores: Estimate
    memory: int
    memory_limit: int
    to_replica: Demand
    to_primary: Demand
    batch: int
    if_contending: int | None
    warnings: tuple[str, ...]


def plan(model: Model, wanted: Wanted, config: Config) -> Plan:
    """The plan. NoPlan when the model cannot say; TooMuch when no number of pods is enough."""
    if wanted.workers_a_pod > FAR * model.most_workers:
        raise NoPlan(
            f"--workers-per-pod: expected at most {FAR:g} times the {model.most_workers} that were "
            f"measured on one machine, got {wanted.workers_a_pod}"
        )
    load = wanted.load
    busy = _busy(model, wanted)
    probe_interval = config.databases.probe_interval
    ends: tuple[End, ...] = ("low", "value", "high")
    spent = {end: spending.spent(model, load, wanted.workers_a_pod, end) for end in ends}
    # The more a worker may be loaded, the less is needed.
    allowed: dict[End, float] = {"low": busy.high, "value": busy.value, "high": busy.low}
    site = {
        end: Site(
            zones=wanted.zones,
            busy=allowed[end],
            workers_a_pod=wanted.workers_a_pod,
            clusters=wanted.clusters,
            server_cores=wanted.server_cores,
            probe_interval=probe_interval,
        )
        for end in ends
    }
    sizes = {end: size(load, spent[end], site[end]) for end in ends}
    chosen = sizes["value"]
    rooms = {end: headroom(load, spent[end], site[end], chosen) for end in ends}
    to_replica = demand.of_replica(config.databases, chosen.workers)
    memory = wanted.workers_a_pod * (
        model.provenance.resident_bytes + wanted.cache_entries * ENTRY_BYTES
    )
    requests = config.requests
    buffers = requests.max_receiving + requests.max_batches * BATCH_BYTES
    return Plan(
        wanted=wanted,
        size=chosen,
        least=sizes["low"],
        most=sizes["high"],
        spent=spent["value"],
        busy=busy,
        headroom=Estimate(rooms["value"], rooms["high"], rooms["low"]),
        p99=_p99(model, chosen.utilisation_without_a_zone) if load.singles else None,
        cores=Estimate(
            *(spending.cores(model, load, chosen.workers, end) for end in ("value", "low", "high"))
        ),
        memory=memory,
        memory_limit=memory + wanted.workers_a_pod * buffers,
        to_replica=to_replica,
        to_primary=demand.of_primary(
            config.databases,
            config.ingest,
            chosen.workers,
            alone=False,
            keyed=config.access.auth == "on",
        ),
        batch=spending.batch(model),
        if_contending=_if_contending(model, wanted, busy.value, chosen),
        warnings=tuple(_warnings(model, wanted, config, to_replica)),
    )


def pod(model: Model, wanted: Wanted) -> PodModel:
    """A pod of the plan for the autoscaler's simulation: its capacity is what p99 allows, full.

    Of refusals and of the time to start, the simulation's own figures stay where the model has
    none. NoPlan when the model cannot say.
    """
    load, workers = wanted.load, wanted.workers_a_pod
    allowed = _busy(model, msgspec.structs.replace(wanted, most=1.0)).value
    work = work_of(load, spending.spent(model, load, workers, "value"))
    share = allowed * workers / work
    carried = Load(share * load.singles, share * load.items, load.hit)
    requests = carried.singles + carried.items / spending.batch(model)
    cpu = spending.cores(model, carried, workers, "value") / requests
    refusal = model.costs.workers.get("refused")
    return PodModel(
        capacity=requests,
        cpu_per_request=cpu,
        cpu_per_refusal=min(refusal.value if refusal else PodModel().cpu_per_refusal, 0.99 * cpu),
        cores=float(workers),
    )


def _busy(model: Model, wanted: Wanted) -> Estimate:
    """The utilisation that p99 allows; of kinds that differ in hits, the strictest."""
    found = Estimate(wanted.most, wanted.most, wanted.most)
    if wanted.bulk_share == 1:
        return found
    for name, kind in model.of("single").items():
        if kind.curve is None:
            continue
        allowed = kind.curve.within(wanted.p99)
        if not allowed.value:
            raise NoPlan(
                f"--p99: expected more than {kind.curve.fitted.base * 1e3:.3g} ms, which a "
                f"question takes that waits for nobody ({name}), got {wanted.p99 * 1e3:.3g} ms"
            )
        found = Estimate(
            min(found.value, allowed.value),
            # A draw in which nothing is allowed would ask for pods without end.
            min(found.low, max(allowed.low, allowed.value / 10)),
            min(found.high, allowed.high),
        )
    return found


def _p99(model: Model, utilisation: float) -> Estimate | None:
    """Of kinds that differ in hits, the longest."""
    curves = [kind.curve for kind in model.of("single").values() if kind.curve is not None]
    found = [curve.at(utilisation) for curve in curves]
    return max(found, key=lambda each: each.value, default=None)


def _if_contending(model: Model, wanted: Wanted, busy: float, chosen: Size) -> int | None:
    for workers in range(1, 10 * chosen.workers + 1):
        spent = spending.spent(model, wanted.load, workers, "value")
        if work_of(wanted.load, spent) <= busy * workers:
            return workers
    return None


def _warnings(model: Model, wanted: Wanted, config: Config, to_replica: Demand) -> list[str]:
    """What lies beyond what was measured, and what the model does not know."""
    load = wanted.load
    found: list[str | None] = []
    for endpoint, what, rate in (
        ("single", "single questions a second", load.singles),
        ("batch", "questions a second in batches", load.items),
    ):
        kinds = list(model.of(endpoint).values())
        if not rate or not kinds:
            continue
        found.append(far(what, rate, max(kind.highest for kind in kinds)))
        hits = [kind.hit for kind in kinds]
        if not min(hits) - _HITS_BEYOND <= wanted.hit <= max(hits) + _HITS_BEYOND:
            found.append(
                f"--hit {wanted.hit:g}: {what} were measured with {min(hits):.0%} to "
                f"{max(hits):.0%} in memory"
            )
        elif max(hits) - min(hits) < HITS_APART:
            found.append(f"{what}: what a miss adds is not known, and taken for nothing")
    measured = demand.of_replica(config.databases, model.most_workers).connections
    found.append(far("connections to a replica", to_replica.connections, measured))
    for part, costs, terms in (
        ("workers", model.costs.workers, ("poll",)),
        ("databases", model.costs.databases, ("single_miss", "bulk_miss", "poll")),
    ):
        lacking = [term for term in terms if term not in costs]
        if lacking:
            found.append(f"CPU of {part}: {' and '.join(lacking)} unknown, taken for nothing")
    return [text for text in found if text is not None]
