"""The plan for the whole country: arithmetic from docs/scale.json and what is assumed here.

Nothing of it is measured: every line says how it follows from figures that are. Workers and
replicas are counted as by ``python -m loadtests capacity plan`` (loadtests/capacity/sizing.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.scale_common import Sample, Section, digits
from loadtests.capacity.plan import ENTRY_BYTES
from loadtests.capacity.sizing import Load, Site, Spent, size
from loadtests.processes import RigError
from verifier.config import Config

# What is wanted.
A_YEAR, YEARS = 10e9, 5
SINGLES, BULK = 20_000, 1_000_000

# What is assumed. Peaks use half of the cores, and one zone of three may be gone.
BUSY, ZONES = 0.5, 3
PEAK_WRITES = 10  # times the average
CLUSTERS, SERVERS = 16, 4  # a primary, two replicas that are read, one elsewhere
# Of a worker to a replica, for look-ups; one more is for the probes.
CONNECTIONS = Config().databases.read_connections
INTERVAL = 0.5  # seconds between the probes of a server
SERVER_CORES, SERVER_GB, DISK_FULL = 4, 64, 0.7
POD_GB = 2
BATCH = 1_000
# Dollars a month.
CORE, GB_MEMORY, GB_DISK = 25.0, 3.0, 0.10


class Figures:
    """Medians of what was measured."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def __call__(self, section: str, measurement: str, key: str) -> float:
        """One of them; RigError when it has not been taken."""
        try:
            samples: list[Sample] = self._known[section]["samples"][measurement]
        except KeyError as error:
            raise RigError(f"the plan needs the section {section!r}; it was not taken") from error
        return median(sample[key] for sample in samples)

    def largest(self) -> int:
        """Rows of the largest ledger that was measured."""
        samples = self._known.get("ledger", {}).get("samples", {})
        sizes = [int(name.split()[0]) for name in samples if name.endswith(" ledger")]
        if not sizes:
            raise RigError("the plan needs the section 'ledger'; it was not taken")
        return max(sizes)


def plan(file: Path) -> Section:
    """All lines of the plan. RigError when a section that it needs was not measured."""
    figures = Figures(msgspec.json.decode(file.read_bytes()) if file.exists() else {})
    rows = [["what", "arithmetic (extrapolated)", "makes"], *_lines(figures)]
    note = (
        f"Assumed: peaks use {BUSY:.0%} of the cores; one of {ZONES} zones may be gone; no "
        f"question is answered from memory; writes peak at {PEAK_WRITES} times their average; "
        f"{CORE:.0f} dollars a month for a core, {GB_MEMORY:.0f} for a GB of memory, "
        f"{GB_DISK:.2f} for a GB of local NVMe. Every other number comes from the tables above."
    )
    return Section("The whole country", rows, note, {})


def billions(number: float) -> str:
    """As many times a thousand millions."""
    return f"{number / 1e9:.3g} × 10⁹"


def _lines(figures: Figures) -> list[list[str]]:
    largest = figures.largest()
    table, index, log = (
        figures("ledger", f"{largest} ledger", key) for key in ("table", "index", "log_bytes")
    )
    a_row = (table + index) / largest
    rows = A_YEAR * YEARS
    copy = rows * a_row / 1e12
    disk = copy * SERVERS / DISK_FULL
    writes = A_YEAR / (365 * 86_400)
    in_cluster = rows / CLUSTERS

    single, item = (figures("database", kind, "worker_us") for kind in ("single", "batch"))
    own_poll, a_poll = (
        figures("polls", "60 pollers, changes", key) for key in ("client_us", "server_us")
    )
    spare = BUSY * (ZONES - 1) / ZONES
    proxy = figures("haproxy", "random(2)", "proxy_us")
    proxies = (SINGLES + BULK / BATCH) * proxy / 1e6

    # Of the largest ledger, where some pages come from outside of shared buffers.
    a_single, a_key = (
        figures("ledger", f"{largest} {kind}", "cpu_us") for kind in ("single", "batch")
    )
    sized = size(
        Load(SINGLES, BULK, hit=0.0),
        # Misses and what they rest on were measured as one.
        Spent(
            single=single / 1e6,
            single_miss=0.0,
            item=item / 1e6,
            item_miss=0.0,
            probe=own_poll / 1e6,
            probes=0.0,
            key_single=a_single / 1e6,
            key_bulk=a_key / 1e6,
            probed=a_poll / 1e6,
        ),
        Site(
            zones=ZONES,
            busy=BUSY,
            clusters=CLUSTERS,
            server_cores=SERVER_CORES,
            database_busy=BUSY,
            probe_interval=INTERVAL,
        ),
    )
    workers, readers = sized.workers, CLUSTERS * sized.replicas
    keys = (SINGLES + BULK) / readers
    year = A_YEAR / CLUSTERS * index / largest / 1e9

    servers = CLUSTERS * SERVERS
    front = ceil(proxies / spare)
    cores = servers * SERVER_CORES + workers + front
    memory = servers * SERVER_GB + workers * POD_GB
    money = cores * CORE + memory * GB_MEMORY + disk * 1e3 * GB_DISK
    return [
        ["rows", f"{billions(A_YEAR)} a year × {YEARS}", billions(rows)],
        ["a row with its index", f"at {largest:,} rows", f"{a_row:.0f} bytes"],
        ["one copy", f"{billions(rows)} × {a_row:.0f} bytes", f"{copy:.1f} TB"],
        [
            "clusters",
            f"{billions(rows)} rows ÷ {CLUSTERS}: {billions(in_cluster)} each",
            f"{in_cluster * a_row / 1e12:.2f} TB each",
        ],
        ["disks", f"{copy:.1f} TB × {SERVERS} copies ÷ {DISK_FULL:.0%} full", f"{disk:.0f} TB"],
        [
            "writes at peak",
            f"{writes:.0f} rows/s × {PEAK_WRITES} × {log:.0f} bytes of log",
            f"{writes * PEAK_WRITES * log / 1e6:.1f} MB/s, all clusters together",
        ],
        [
            "workers' CPU at peak",
            f"{SINGLES:,} × {single:.0f} µs + {BULK:,} × {item:.1f} µs",
            f"{sized.work:.1f} cores",
        ],
        [
            "polling by a worker",
            f"{CLUSTERS} × {1 + sized.replicas} servers ÷ {INTERVAL} s × {own_poll:.0f} µs",
            f"{sized.polling * 100:.1f} % of its core",
        ],
        [
            "workers, a core each",
            f"{sized.work:.1f} ÷ ({BUSY} − {sized.polling:.3f}): {sized.left} in {ZONES - 1} zones",
            f"{workers}",
        ],
        [
            "memory of a worker",
            f"{POD_GB} GB, of which {POD_GB - 0.5} GB ÷ {ENTRY_BYTES} bytes",
            f"{(POD_GB - 0.5) * 1e9 / ENTRY_BYTES / 1e6:.1f} million invoices",
        ],
        [
            "HAProxy's CPU at peak",
            f"({SINGLES:,} + {BULK:,} ÷ {BATCH:,}) × {proxy:.0f} µs (a small body's)",
            f"{digits(proxies)} cores; {front} with reserves",
        ],
        [
            "PostgreSQL's CPU for look-ups",
            f"{SINGLES:,} × {a_single:.1f} µs + {BULK:,} × {a_key:.1f} µs (at {largest:,} rows)",
            f"{sized.reading:.1f} cores, on {readers} replicas",
        ],
        [
            "pages a replica reads",
            f"{keys:,.0f} keys/s × 2 (leaf and row), none of them in memory",
            f"{2 * keys:,.0f} a second of 8 KiB: {2 * keys * 8192 / 1e6:.0f} MB/s",
        ],
        [
            "index of a year, in a cluster",
            f"{billions(A_YEAR)} ÷ {CLUSTERS} × {index / largest:.0f} bytes",
            f"{year:.0f} GB of the {SERVER_GB} GB of a server",
        ],
        [
            "polls at a server",
            f"{workers} workers ÷ {INTERVAL} s × {a_poll:.0f} µs",
            f"{sized.polled * 100:.1f} % of a core",
        ],
        [
            "connections to a replica",
            f"{workers} workers × ({CONNECTIONS} + 1)",
            f"{workers * (CONNECTIONS + 1)}",
        ],
        [
            "cores",
            f"{servers} servers × {SERVER_CORES} + {workers} workers + {front}",
            f"{cores:,}",
        ],
        [
            "memory",
            f"{servers} servers × {SERVER_GB} GB + {workers} × {POD_GB} GB",
            f"{memory / 1e3:.1f} TB",
        ],
        [
            "money, by the prices assumed",
            f"{cores:,} × {CORE:.0f} + {memory:,} × {GB_MEMORY:.0f} + {disk:.0f},000 × {GB_DISK}",
            f"{money:,.0f} dollars a month",
        ],
    ]
