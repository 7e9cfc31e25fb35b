"""What following the change log costs a worker, while somebody changes the ledger.

Two workers live side by side on the measured core and are asked in turns, a second each: one
follows, the other has probes so far apart that its life has none after the first. The bound of
staleness lets both answer from memory. The changes go on all the time, and all of them are to
invoices that are in memory: each costs the follower a look-up more, which no real writer aims at.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import asyncpg
import msgspec

from bench import load
from bench.client import ask_all, post
from bench.compare import CONFIDENCE, interval
from bench.load import Void
from bench.rig import Rig
from bench.scale_common import (
    Sample,
    Section,
    metrics,
    must_count,
    on_core,
    percent,
    ratios,
    spread,
    turns,
    values,
)
from bench.scale_front import environment
from bench.scale_memory import HIT, MISS
from loadtests.processes import RigError, Server, python

LIVES = 3  # at least; each brings some ten pairs of windows
CHANGES = 60.0  # changes of the ledger a second, each a transaction
HIT_RATIO = 0.95
# Each is asked about some twice a second. There is room for them and 2,000 others: a cold one is
# forgotten before the file comes to it again.
HOT = 10_000
ENTRIES = 24_000
ASKED = 200_000
WINDOW_SECONDS = 1.0
IDLE_SECONDS = 5.0

# The longest probe interval that there is; a worker that does not follow lives for less.
FOLLOWING: dict[str, str] = {}
NOT_FOLLOWING = {"VERIFIER_PROBE_INTERVAL": "60"}
LIFE, ASKED_FOR = 58.0, 45.0

_TOGGLE = """
UPDATE invoice
SET status = CASE status WHEN 'normal' THEN 'voided' ELSE 'normal' END::invoice_status
WHERE key = $1
"""


_HEARD = 'verifier_changes_total{outcome="heard"}'
_RESTORE = "UPDATE invoice SET status = 'normal' WHERE key = ANY($1) AND status <> 'normal'"


class Writer:
    """Changes the state of these invoices in turns, ``rate`` times a second, while it is open.

    They must be normal, and are normal again afterwards. Void when it could not keep up.
    """

    def __init__(self, dsn: str, keys: Sequence[str], rate: float) -> None:
        self._dsn = dsn
        self._keys = keys
        self._rate = rate
        self._stop = threading.Event()
        self._began = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self.done = 0

    def __enter__(self) -> None:
        self._thread.start()
        self._began.wait()
        self._begin = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        due = self._rate * (perf_counter() - self._begin)
        if self._error is not None:
            raise RigError(f"the writer ended: {self._error}")
        if self.done < 0.9 * due:
            raise Void(f"the ledger was changed {self.done} times instead of {due:.0f}")

    def _run(self) -> None:
        try:
            asyncio.run(self._write())
        except (OSError, asyncpg.PostgresError) as error:
            self._error = error
        finally:
            self._began.set()

    async def _write(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            change = (await connection.prepare(_TOGGLE)).fetch
            self._began.set()
            begin = perf_counter()
            while not self._stop.is_set():
                await change(self._keys[self.done % len(self._keys)])
                self.done += 1
                await asyncio.sleep(max(0.0, begin + self.done / self._rate - perf_counter()))
            await connection.execute(_RESTORE, self._keys)
        finally:
            await connection.close()


class Asked:
    """A worker, and how far it has come in the file of questions."""

    def __init__(self, rig: Rig, server: Server, file: Path) -> None:
        self._rig = rig
        self._server = server
        self._file = file
        self._offset = rig.random.randrange(ASKED)

    def window(self) -> Sample:
        """Single questions as fast as they are answered, for a second."""
        pid, address = self._server.pid, self._server.address
        before, begin = metrics(address), perf_counter()
        used = on_core(pid)
        got = load.wrk(
            self._server.url,
            self._file,
            self._rig.other,
            seconds=WINDOW_SECONDS,
            offset=self._offset,
        )
        used = on_core(pid) - used
        after, taken = metrics(address), perf_counter() - begin
        self._offset = (self._offset + got.answers) % ASKED
        hits, misses, heard = (after[name] - before[name] for name in (HIT, MISS, _HEARD))
        return {
            "rate": got.rate,
            "per_core": got.answers / used,
            "hit_ratio": hits / (hits + misses),
            "heard": heard / taken,
        }


class Feed:
    """The measurements, over one set of questions."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        hot = [msgspec.json.encode(each) for each in rig.questions(7, HOT)]
        cold = iter([msgspec.json.encode(each) for each in rig.questions(8, ASKED // 10)])
        drawn = random.Random(9)
        bodies = [
            drawn.choice(hot) if drawn.random() < HIT_RATIO else next(cold) for _ in range(ASKED)
        ]
        self._file: Path = rig.file("feed.ndjson", bodies)
        self._hot = [post("/v1/verify", body) for body in hot]
        listed = ",".join(f"'{key}'" for key in rig.keys(7, HOT))
        found = rig.execute(
            rig.name,
            f"SELECT key FROM invoice WHERE status = 'normal' AND key = ANY(ARRAY[{listed}])",
        )[0]
        self.changed = [row[0] for row in found]
        drawn.shuffle(self.changed)

    def writing(self) -> Writer:
        """Somebody who changes what is in memory."""
        return Writer(self.rig.primary(self.rig.name), self.changed, CHANGES)

    @contextmanager
    def _worker(self, name: str, settings: Mapping[str, str]) -> Iterator[Server]:
        settings = {"VERIFIER_CACHE_ENTRIES": str(ENTRIES), **settings}
        command = python("-m", "verifier", "serve", "--port", "0")
        log = self.rig.data / f"feed-{name}.log"
        with Server(command, environment(self.rig, **settings), self.rig.core, log) as server:
            ask_all(server.address, self._hot)
            yield server

    def life(self, *, changes: bool) -> list[tuple[Sample, Sample]]:
        """Windows of a worker that follows and of one that does not, in turns."""
        born = perf_counter()
        pairs: list[tuple[Sample, Sample]] = []
        with (
            self._worker("follows", FOLLOWING) as follows,
            self._worker("does-not", NOT_FOLLOWING) as does_not,
            self.writing() if changes else nullcontext(),
        ):
            sides = [Asked(self.rig, server, self._file) for server in (follows, does_not)]
            for side in sides:
                side.window()  # the code is warm, and what is hot is known
            while perf_counter() - born < ASKED_FOR:
                turn = (0, 1) if len(pairs) % 2 == 0 else (1, 0)
                taken = {at: sides[at].window() for at in turn}
                pairs.append((taken[0], taken[1]))
                told = ", ".join(f"{each['per_core']:,.0f}" for each in pairs[-1])
                print(f"  a second and core, follows and does not: {told}", flush=True)
        if perf_counter() - born > LIFE:
            raise Void("a worker lived for so long that it has probed")
        return pairs

    def idle(self, settings: Mapping[str, str]) -> Sample:
        """A worker that nobody asks anything: what it uses of its core."""
        with self._worker("idle", settings) as server, self.writing():
            used, begin = on_core(server.pid), perf_counter()
            threading.Event().wait(IDLE_SECONDS)  # what is measured is time passing
            return {"share": (on_core(server.pid) - used) / (perf_counter() - begin)}


def feed(rig: Rig) -> Section:
    """With and without the feed, with and without a writer."""
    it, lives = Feed(rig), max(LIVES, rig.scale.rounds)
    samples: dict[str, list[Sample]] = {}
    for _ in range(lives):
        for kind in ("changes", "no changes"):
            for on, off in must_count(kind, partial(it.life, changes=kind == "changes")):
                samples.setdefault(f"follows, {kind}", []).append(on)
                samples.setdefault(f"does not, {kind}", []).append(off)
    idle = {
        "follows, idle": partial(it.idle, FOLLOWING),
        "does not, idle": partial(it.idle, NOT_FOLLOWING),
    }
    return _section(samples | turns(idle, lives))


def cost(on: Sequence[Sample], off: Sequence[Sample], key: str) -> str:
    """What is lost by following, with the interval that holds the median."""
    times = interval(ratios(on, off, key))
    return f"{percent(1 - times.ratio)} ({percent(1 - times.high)} … {percent(1 - times.low)})"


def _section(samples: Mapping[str, list[Sample]]) -> Section:
    rows = [["ledger", "worker", "a second", "a second and core used", "hit ratio"]]
    rows[0] += ["keys heard a second", "following costs, by CPU", "by rate"]
    for kind in ("changes", "no changes"):
        on, off = samples[f"follows, {kind}"], samples[f"does not, {kind}"]
        changes = f"{CHANGES:.0f} changes a second" if kind == "changes" else "no changes"
        costs = [cost(on, off, "per_core"), cost(on, off, "rate")]
        for name, each in (("follows the feed", on), ("does not", off)):
            rows.append(
                [
                    changes,
                    name,
                    spread(values(each, "rate")),
                    spread(values(each, "per_core")),
                    percent(median(values(each, "hit_ratio"))),
                    f"{median(values(each, 'heard')):.0f}",
                    *(costs if each is on else ["", ""]),
                ]
            )
    pairs = len(samples["follows, changes"]), len(samples["follows, no changes"])
    on, off = samples["follows, idle"], samples["does not, idle"]
    idle = spread([a["share"] - b["share"] for a, b in zip(on, off, strict=True)], percent)
    note = (
        f"{pairs[0]} and {pairs[1]} pairs of windows of {WINDOW_SECONDS:g} s; costs are the median "
        f"of the pairs, with its {CONFIDENCE:.0%} interval. A worker that nobody asks uses {idle} "
        f"of a core more when it follows ({CHANGES:.0f} changes a second): what following costs "
        "beside the look-ups that it adds, without the noise of a loaded machine. Every change is "
        f"to one of {HOT:,} invoices in memory, and heard of twice: on the primary and on the one "
        "replica. Probes of both, every 0.25 s, are a part of following."
    )
    return Section("Following the change log", rows, note, dict(samples))
