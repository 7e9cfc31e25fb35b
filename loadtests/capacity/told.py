"""A plan in words: a table of what is needed, what is extrapolated, and every assumption."""

from __future__ import annotations

from loadtests.capacity.estimates import CONFIDENCE, Estimate
from loadtests.capacity.model import FAR, Model
from loadtests.capacity.plan import BATCH_BYTES, ENTRY_BYTES, Plan
from loadtests.report.markdown import aligned
from loadtests.report.words import count, duration, share
from verifier.config import Config

_HEAD = ("what", "needed", "at the ends of all bands", "how it comes to so many")


def told(found: Plan, model: Model, config: Config) -> str:
    """All of it, as Markdown that can be read as it is."""
    parts = [headline(found), aligned([_HEAD, *_lines(found)], texts=len(_HEAD))]
    if found.warnings:
        said = "".join(f"- {text}\n" for text in found.warnings)
        parts.append(f"Extrapolated beyond {FAR:g} times what was measured, or unknown:\n\n{said}")
    said = "".join(f"- {text}\n" for text in assumptions(found, model, config))
    parts.append(f"Assumed:\n\n{said}")
    return "\n".join(parts)


def headline(found: Plan) -> str:
    """What it comes to, in a sentence."""
    wanted, size = found.wanted, found.size
    text = (
        f"{count(wanted.rate)} questions/s with a p99 of {duration(wanted.p99)}: {size.pods} pods "
        f"in {wanted.zones} zone{'s' * (wanted.zones != 1)} and {size.replicas} replica"
        f"{'s' * (size.replicas != 1)}" + (" in each cluster" if wanted.clusters > 1 else "")
    )
    return f"{text}{'; **extrapolated**' if found.warnings else ''}.\n"


def _lines(found: Plan) -> list[tuple[str, str, str, str]]:
    return [*_of_pods(found), *_of_databases(found), *_of_load(found)]


def _of_pods(found: Plan) -> list[tuple[str, str, str, str]]:
    wanted, size, least, most = found.wanted, found.size, found.least, found.most
    load, spent = wanted.load, found.spent
    sums = (
        f"{count(load.singles)} singles × {_micro(spent.single)} + {count(load.items)} items × "
        f"{_micro(spent.item)}; of misses, {share(1 - load.hit)}, each {_micro(spent.single_miss)} "
        f"and {_micro(spent.item_miss)} more"
    )
    pods = (
        f"{size.work:.1f} ÷ ({found.busy.value:.2f} − {size.polling:.3f} for polls): {size.left} "
        f"workers with a zone gone; {size.pods_a_zone} pods a zone"
    )
    memory = (
        f"{_gigabytes(found.memory)} a pod requested; its limit {_gigabytes(found.memory_limit)}, "
        "for full buffers"
    )
    return [
        (
            "work",
            f"{size.work:.1f} workers",
            f"{least.work:.1f} … {most.work:.1f}",
            sums,
        ),
        (
            "utilisation allowed",
            share(found.busy.value),
            f"{share(found.busy.low)} … {share(found.busy.high)}",
            f"by a p99 of {duration(wanted.p99)}, and at most {share(wanted.most)}",
        ),
        ("pods", str(size.pods), f"{least.pods} … {most.pods}", pods),
        (
            "CPU requested",
            f"{size.workers} cores",
            f"{least.workers} … {most.workers}",
            f"one core for each worker; {_cores(found.cores)} of them used at the peak",
        ),
        (
            "memory",
            _gigabytes(found.memory * size.pods),
            f"{_gigabytes(found.memory * least.pods)} … {_gigabytes(found.memory * most.pods)}",
            memory,
        ),
    ]


def _of_databases(found: Plan) -> list[tuple[str, str, str, str]]:
    size = found.size
    reading = (
        f"{size.reading:.2f} cores of look-ups, {size.polled:.2f} of polls at each; at least one "
        "for each other zone"
    )
    return [
        (
            "replicas" + (" of a cluster" if found.wanted.clusters > 1 else ""),
            str(size.replicas),
            f"{found.least.replicas} … {found.most.replicas}",
            reading,
        ),
        ("connections to a replica", str(found.to_replica.connections), "", found.to_replica.sum),
        ("connections to a primary", str(found.to_primary.connections), "", found.to_primary.sum),
    ]


def _of_load(found: Plan) -> list[tuple[str, str, str, str]]:
    size, least, most = found.size, found.least, found.most
    lost = f"utilisation {share(size.utilisation_without_a_zone)}"
    if found.p99 is not None:
        ends = f"{duration(found.p99.low)} … {duration(found.p99.high)}"
        lost += f", p99 {duration(found.p99.value)} ({ends})"
    contending = "no number" if found.if_contending is None else str(found.if_contending)
    return [
        (
            "utilisation",
            share(size.utilisation),
            f"{share(least.utilisation)} … {share(most.utilisation)}",
            "with all zones",
        ),
        (
            "headroom, a zone lost",
            _signed(found.headroom.value),
            f"{_signed(found.headroom.low)} … {_signed(found.headroom.high)}",
            lost,
        ),
        (
            "if workers contended",
            contending,
            "",
            "workers without a zone to spare, were all to contend as on the measured machine",
        ),
    ]


def assumptions(found: Plan, model: Model, config: Config) -> list[str]:
    """All that was assumed, one a line."""
    wanted = found.wanted
    made = model.provenance
    interval = config.databases.probe_interval
    return [
        (
            f"fitted on {len(made.runs)} runs from {made.first[:10]} to {made.last[:10]}, commit "
            f"{', '.join(made.commits)}, {made.environment.get('processor', 'a processor')} with "
            f"{made.environment.get('cores', '?')} cores, up to {model.most_workers} workers"
        ),
        (
            f"bands are of {share(CONFIDENCE)}; the pods' have every figure at its good end, or at "
            "its bad end, at once"
        ),
        (
            f"a rate is of questions; {share(wanted.bulk_share)} of them come in batches of "
            f"{count(found.batch)}, {share(wanted.hit)} are in memory"
        ),
        (
            f"one of {wanted.zones} zones may be gone at the peak"
            if wanted.zones > 1
            else "the one zone is never gone"
        ),
        "pods share nothing but databases, and the load is spread evenly over their workers",
        "single questions and batches share a worker's time, and misses cost the same in any mix",
        "bulk does not hold up single questions: p99 is that of singles alone",
        (
            f"a worker has a core of its own, and {wanted.workers_a_pod} "
            f"make{'s' * (wanted.workers_a_pod == 1)} a pod"
        ),
        *_of_part(made.cores_each),
        (
            f"each of {wanted.clusters} cluster{'s' * (wanted.clusters != 1)} has one primary; "
            f"a replica has {wanted.server_cores} cores, half of which may be used"
        ),
        (
            f"each worker probes each server every {interval:g} s (VERIFIER_PROBE_INTERVAL), and "
            f"has {config.databases.read_connections} connections to each replica "
            "(VERIFIER_READ_CONNECTIONS)"
        ),
        (
            f"{count(wanted.cache_entries)} invoices in a worker's memory, {ENTRY_BYTES} bytes "
            f"each, beside the {made.resident_bytes / 1e6:.0f} MB that a measured worker had"
        ),
        (
            f"buffers: VERIFIER_MAX_RECEIVING ({config.requests.max_receiving / 1e6:.0f} MB), and "
            f"{config.requests.max_batches} batches of {BATCH_BYTES / 1e6:.0f} MB"
        ),
        *(f"not known: {note}" for note in model.notes),
    ]


def _of_part(cores_each: float) -> list[str]:
    if cores_each == 1:
        return []
    said = (
        f"those measured had {cores_each:g} of a core each; a whole one is taken to do "
        f"{1 / cores_each:g} times as much, with the same p99 at the same utilisation"
    )
    return [said]


def _micro(seconds: float) -> str:
    return f"{1e6 * seconds:.3g} µs"


def _shares(each: Estimate) -> str:
    return f"{share(each.low)} … {share(each.high)}"


def _cores(each: Estimate) -> str:
    return f"{each.value:.1f} ({each.low:.1f} … {each.high:.1f})"


def _signed(value: float) -> str:
    return f"{100 * value:+.0f} %"


def _gigabytes(octets: float) -> str:
    return f"{octets / 1e9:.2g} GB" if octets < 1e10 else f"{octets / 1e9:,.0f} GB"
