"""Instructions a request of whole servers, by cachegrind: ``python -m bench.requests [SERVER…]``.

What a server does in user space between two sizes of the same load, divided by the difference: the
start falls out, and so does whatever else this machine is doing. The kernel's part is not in it,
so these ratios are not those of the figures; but a change that matters shows here in any weather.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.client import ask_all, post
from bench.counts import HOW_TO_INSTALL, ToolError, available, total
from bench.measure import batches
from bench.rig import QUICK, Rig
from loadtests import processes
from loadtests.processes import RigError, Server, python
from verifier.errors import VerifierError

ROWS = 100_000
# Under cachegrind everything takes thirty times as long, also what is bounded in time.
PATIENT = {
    "VERIFIER_CONNECT_TIMEOUT": "60",
    "VERIFIER_QUERY_TIMEOUT": "60",
    "VERIFIER_MAX_WAIT": "60",
    "VERIFIER_MAX_STALENESS": "3600",
    "VERIFIER_LOG_LEVEL": "error",
}
CONNECTIONS = 64


class Load(msgspec.Struct, frozen=True):
    """What to ask a server: first so many requests to warm it up, then the two sizes."""

    command: Sequence[str]
    environ: Mapping[str, str]
    requests: Sequence[bytes]
    warm: int
    sizes: tuple[int, int]
    connections: int = CONNECTIONS


def loads(rig: Rig) -> dict[str, Load]:
    """What can be counted."""
    hot = [msgspec.json.encode(each) for each in rig.questions(2, 2_000)]
    cold = [msgspec.json.encode(each) for each in rig.questions(3, 20_000)]
    singles = [post("/v1/verify", body) for body in hot]
    others = [post("/v1/verify", body) for body in cold]
    serve = python("-m", "verifier", "serve", "--port", "0")
    known = {
        **PATIENT,
        "VERIFIER_PRIMARY_DSN": rig.primary(rig.name),
        "VERIFIER_REPLICA_DSNS": rig.replica,
    }
    unknown = {**known, "VERIFIER_CACHE_ENTRIES": "400"}
    peer = {"BENCH_DSN": rig.replica}
    single = (1_000, 3_000)
    return {
        "bare": Load(python("-m", "bench.peers.bare", "640"), {}, singles, 400, single),
        "single cached": Load(serve, known, singles, 2_000, single),
        "single uncached": Load(serve, unknown, others, 400, single),
        "pool": Load(python("-m", "bench.peers.pool"), peer, others, 400, single),
        "fastapi": Load(python("-m", "bench.peers.fastapi_app"), peer, others, 400, single),
        "batch cached": Load(serve, known, batches(hot), 2, (10, 30), 2),
        "batch uncached": Load(serve, unknown, batches(cold), 2, (5, 15), 2),
    }


def instructions(rig: Rig, name: str, load: Load) -> float:
    """User-space instructions a request."""
    totals = []
    for size in load.sizes:
        file = rig.data / "requests.cachegrind"
        command = [
            "valgrind",
            "--tool=cachegrind",
            "--quiet",
            "--cache-sim=no",
            "--branch-sim=no",
            f"--cachegrind-out-file={file}",
            *load.command,
        ]
        environ = {**load.environ, "PYTHONHASHSEED": "0"}
        asked = [load.requests[at % len(load.requests)] for at in range(load.warm + size)]
        with Server(command, environ, rig.core, _log(rig, name)) as server:
            answers = ask_all(server.address, asked[: load.warm], load.connections)
            answers += ask_all(server.address, asked[load.warm :], load.connections)
        refused = [answer for answer in answers if answer[0] != 200]
        if refused:
            raise RigError(f"{name}: not all were answered: {refused[0]}")
        totals.append(total(file))
    return (totals[1] - totals[0]) / (load.sizes[1] - load.sizes[0])


def _log(rig: Rig, name: str) -> Path:
    return rig.data / f"{name.replace(' ', '-')}.requests.log"


def main() -> None:
    """Print a line for each server as it is counted."""
    if not available():
        raise ToolError(HOW_TO_INSTALL)
    processes.READY_SECONDS = 300.0
    with Rig(msgspec.structs.replace(QUICK, rows=ROWS)) as rig:
        known = loads(rig)
        chosen = sys.argv[1:] or list(known)
        bare = 0.0
        for name in chosen:
            if name not in known:
                raise RigError(f"{name!r}: expected some of {', '.join(known)}")
            counted = instructions(rig, name, known[name])
            bare = counted if name == "bare" else bare
            ratio = f"  {counted / bare:5.2f} × bare" if bare else ""
            print(f"{name:<16}{counted:>14,.0f} instructions{ratio}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (RigError, ToolError, VerifierError) as error:
        sys.exit(f"bench: {error}")
