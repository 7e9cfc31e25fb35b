"""More workers, and HAProxy in front of them."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from shutil import which
from statistics import median

import msgspec

from bench import load
from bench.client import ask_all, post
from bench.measure import saturated
from bench.rig import COLD, Rig
from bench.scale_common import (
    Sample,
    Section,
    children,
    digits,
    on_cores,
    ratios,
    spread,
    threads_on_core,
    turns,
    values,
)
from loadtests.generator.connections import Address
from loadtests.processes import RigError, Server, pinned, python

# Few enough that every worker soon knows all of them, wherever a question goes.
HOT = 5_000
WARM_SECONDS = 3.0
# Questions a second with and without HAProxy: a tenth of what a worker can answer.
OFFERED = 2_000

BALANCES = ("random(2)", "leastconn")
_STOP_SECONDS = 10.0

_HAPROXY = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    http-reuse always
frontend entry
    bind fd@{fd}
    default_backend workers
backend workers
    balance {balance}
    option httpchk GET /readyz
    default-server check inter 1s
{servers}
"""


def questions(rig: Rig) -> tuple[Path, Path, list[bytes]]:
    """Files of questions about hot and about cold invoices, and the hot ones as requests."""
    hot = [msgspec.json.encode(each) for each in rig.questions(2, HOT)]
    cold = [msgspec.json.encode(each) for each in rig.questions(3, COLD)]
    return (
        rig.file("scale-hot.ndjson", hot),
        rig.file("scale-cold.ndjson", cold),
        [post("/v1/verify", body) for body in hot],
    )


def environment(rig: Rig, **settings: str) -> dict[str, str]:
    """What the service needs to read the ledger under test."""
    dsns = {
        "VERIFIER_PRIMARY_DSN": rig.primary(rig.name),
        "VERIFIER_REPLICA_DSNS": rig.replica,
        "VERIFIER_LOG_LEVEL": "error",
        # Two cores for everything: a prober that has to wait for one is not what is measured.
        "VERIFIER_MAX_STALENESS": "3600",
    }
    return dsns | settings


# Workers


def workers(rig: Rig) -> Section:
    """One and two workers that share a port, on two cores with everything else."""
    hot, cold, _ = questions(rig)
    small = str(max(2, rig.scale.rows // 200))
    with ExitStack() as stack:
        measures = {}
        for count in (1, 2):
            for kind, file, settings in (
                ("cached", hot, {}),
                ("uncached", cold, {"VERIFIER_CACHE_ENTRIES": small}),
            ):
                name = f"{count} {kind}"
                command = ["taskset", "-c", f"{rig.core},{rig.other}"]
                command += python("-m", "verifier", "serve", "--port", "0")
                command += ["--workers", str(count)]
                log = rig.data / f"scale-{count}-{kind}.log"
                server = Server(command, environment(rig, **settings), rig.core, log)
                stack.enter_context(server)
                load.wrk(server.url, file, rig.other, seconds=WARM_SECONDS)
                measures[name] = partial(_asked, rig, server, count, file)
        samples = turns(measures, rig.scale.rounds)
    return _workers(samples)


def _asked(rig: Rig, server: Server, count: int, file: Path) -> Sample:
    pids = [server.pid] if count == 1 else children(server.pid)
    if len(pids) != count:
        raise RigError(f"{len(pids)} of {count} workers run")
    used = on_cores(pids)
    got = saturated(rig, server, file)
    used = on_cores(pids) - used
    return {
        "rate": got.rate,
        "cpu_us": used / got.answers * 1e6,
        "cores": used / got.seconds,
        "per_core": got.answers / used,
        "load": got.generator,
    }


def _workers(samples: Mapping[str, list[Sample]]) -> Section:
    rows = [["questions", "workers", "a second", "worker CPU", "cores used by workers"]]
    rows[0] += ["a second and core used", "the load's share of a core"]
    for kind in ("cached", "uncached"):
        for count in (1, 2):
            each = samples[f"{count} {kind}"]
            rows.append(
                [
                    f"single, {kind}",
                    str(count),
                    spread(values(each, "rate")),
                    f"{spread(values(each, 'cpu_us'))} µs",
                    f"{median(values(each, 'cores')):.2f}",
                    spread(values(each, "per_core")),
                    f"{median(values(each, 'load')):.2f}",
                ]
            )
    told = "; ".join(
        f"{kind}: rate × {spread(ratios(samples[f'2 {kind}'], samples[f'1 {kind}'], 'rate'))}, "
        f"per core × {spread(ratios(samples[f'2 {kind}'], samples[f'1 {kind}'], 'per_core'))}"
        for kind in ("cached", "uncached")
    )
    note = (
        f"Two workers against one, round by round: {told}. The two cores are shared by the "
        "workers, wrk and PostgreSQL, so that two workers never have a core each: the rate says "
        "what this machine can do, the figure per core used what a worker can do on one of its "
        "own. The kernel spreads connections (SO_REUSEPORT)."
    )
    return Section("Workers", rows, note, dict(samples))


# HAProxy


@contextmanager
def haproxy(rig: Rig, balance: str, workers: Sequence[Server]) -> Iterator[tuple[int, Address]]:
    """HAProxy on the core of the workers: its process and address. RigError without one."""
    program = which("haproxy") or which("haproxy", path="/usr/sbin")
    if program is None:
        raise RigError("haproxy is not installed (Debian's package of that name)")
    with ExitStack() as stack:
        # The socket is ours, so connections wait in it until HAProxy has started.
        entry = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-haproxy-"))
        servers = "\n".join(
            f"    server w{number} {host}:{port}"
            for number, (host, port) in enumerate(worker.address for worker in workers)
        )
        text = _HAPROXY.format(fd=entry.fileno(), balance=balance, servers=servers)
        file = Path(folder) / "haproxy.cfg"
        file.write_text(text)
        process = subprocess.Popen(
            pinned(rig.core, [program, "-q", "-db", "-f", str(file)]),
            pass_fds=(entry.fileno(),),
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process.pid, entry.getsockname()
            if process.poll() is not None:
                raise RigError(f"haproxy has ended with {process.returncode}")
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def front(rig: Rig) -> Section:
    """Latency at a fixed rate, to a worker directly and through HAProxy to two of them."""
    _, _, requests = questions(rig)
    with ExitStack() as stack:
        command = python("-m", "verifier", "serve", "--port", "0")
        servers = []
        for number in (1, 2):
            log = rig.data / f"scale-worker-{number}.log"
            server = Server(command, environment(rig), rig.core, log)
            servers.append(stack.enter_context(server))
            ask_all(server.address, requests)
        measures = {"direct": partial(_offered, rig, servers, requests, servers[0].address, 0)}
        for balance in BALANCES:
            pid, address = stack.enter_context(haproxy(rig, balance, servers))
            # Each connection to a worker is made once, and kept.
            ask_all(address, requests)
            measures[balance] = partial(_offered, rig, servers, requests, address, pid)
        samples = turns(measures, rig.scale.rounds)
    return _front(samples)


def _offered(
    rig: Rig, servers: list[Server], requests: list[bytes], address: Address, proxy: int
) -> Sample:
    pids = [server.pid for server in servers]
    before = threads_on_core(proxy) if proxy else 0.0
    used = on_cores(pids)
    got = load.open_loop(
        address, requests, rate=OFFERED, seconds=rig.scale.seconds, random=rig.random
    )
    answers = len(got.seconds)
    return {
        "p50_us": got.percentile(0.5) * 1e6,
        "p99_us": got.percentile(0.99) * 1e6,
        "worker_us": (on_cores(pids) - used) / answers * 1e6,
        "proxy_us": ((threads_on_core(proxy) - before) / answers * 1e6) if proxy else 0.0,
    }


def _front(samples: Mapping[str, list[Sample]]) -> Section:
    rows = [["way", "p50", "p99", "HAProxy's CPU a request", "worker's CPU a request"]]
    for name, each in samples.items():
        proxy = values(each, "proxy_us")
        rows.append(
            [
                name if name == "direct" else f"`balance {name}`",
                f"{spread(values(each, 'p50_us'))} µs",
                f"{spread(values(each, 'p99_us'))} µs",
                f"{spread(proxy)} µs" if any(proxy) else "–",
                f"{spread(values(each, 'worker_us'))} µs",
            ]
        )
    added = [
        more["p50_us"] - less["p50_us"]
        for more, less in zip(samples[BALANCES[0]], samples["direct"], strict=True)
    ]
    note = (
        f"Single cached questions at {OFFERED:,} a second (open loop, latency from the intended "
        "moment), HAProxy with one thread on the workers' core, one port per worker, two workers, "
        f"connections kept on both sides. `{BALANCES[0]}` adds {spread(added)} µs to the median. "
        f"CPU at this rate is mostly waking up; {digits(1e6 / _proxy(samples))} requests a second "
        "would fill a core at this cost."
    )
    return Section("HAProxy in front", rows, note, dict(samples))


def _proxy(samples: Mapping[str, list[Sample]]) -> float:
    return median(values(samples[BALANCES[0]], "proxy_us"))
