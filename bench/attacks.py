"""What others see of an attack: ``python -m bench.attacks [KIND…]``.

Known single questions are asked at a fixed rate, from their intended moments, first alone and then
beside a crowd of hostile clients (attackers.py). What they see is their p99 with and without it;
what the service needs is its largest resident memory. One worker has one core; those who ask, the
attackers and PostgreSQL share the other one, on which those who ask never wait.
"""

from __future__ import annotations

import argparse
import select
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import count, islice

import msgspec
from msgspec.structs import replace

from bench import load
from bench.attackers import Crowd
from bench.client import post
from bench.rig import FULL, QUICK, Rig
from loadtests.processes import RigError, Server, forget_peak, peak_bytes, pinned, python, run
from verifier.errors import VerifierError
from verifier.invoice.verdict import SHANGHAI
from verifier.synthetic.ledger import Origin
from verifier.synthetic.shapes import minimal

RATE = 200.0
ALONE_SECONDS = 15.0
# Until all attackers are connected, and until all are gone.
BEGUN_SECONDS = ENDED_SECONDS = 60.0
QUESTIONS = 1_000
RED_LETTERS = 2_000
# Room for those who ask beside the largest crowd.
CONNECTIONS = 12_000
# A connection that is hardly ever needed must not be closed for its silence.
PART_SECONDS = 5.0


def _ask(rig: Rig, server: Server, requests: list[bytes], seconds: float) -> list[float]:
    """Latencies in order."""
    taken: list[float] = []
    for _ in range(round(seconds / PART_SECONDS)):
        part = load.counted(
            "questions",
            lambda: load.open_loop(
                server.address,
                requests,
                rate=RATE,
                seconds=PART_SECONDS,
                random=rig.random,
                connections=16,
            ),
        )
        if part is None:
            raise load.Void("no run counted: somebody else has the generator's core")
        taken += part.seconds
    return sorted(taken)


def _taken_back(rig: Rig) -> bytes:
    """The question about an invoice with many red letters, all of which are in the ledger."""
    day = datetime.now(SHANGHAI).date() - timedelta(days=1)
    invoices = (rig.ledger.absent(index, day) for index in count())
    blue, *red = islice((one for one in invoices if not one.code), 1 + RED_LETTERS)
    origin = Origin(blue.code, blue.number)
    taken = {"amount": "-0.01", "tax": "0.00", "total": "-0.01", "status": "red_letter"}
    lines = [
        replace(blue, status="partially_red_flushed"),
        *(replace(one, **taken, red_letter_of=origin) for one in red),
    ]
    file = rig.file("attack-ledger.ndjson", [msgspec.json.encode(line) for line in lines])
    command = python("-m", "verifier", "ledger", "import", str(file))
    run(command, rig.import_environment(rig.name), rig.core)
    rig.caught_up()
    return msgspec.json.encode(minimal(blue))


def attacked(rig: Rig, kind: str, bodies: list[bytes], seconds: float) -> str:
    """A row of the table: one kind of attack on a service of its own."""
    name = f"attacked-{kind.replace(' ', '-')}"
    server = rig.service(name, VERIFIER_MAX_CONNECTIONS=str(CONNECTIONS))
    requests = [post("/v1/verify", body) for body in bodies[:QUESTIONS]]
    questions = rig.file("attack.ndjson", bodies)
    _ask(rig, server, requests, 5.0)
    alone = _ask(rig, server, requests, ALONE_SECONDS)
    forget_peak(server.pid)
    command = python(
        *("-m", "bench.attackers", kind, f"{server.address[0]}:{server.address[1]}"),
        str(questions),
    )
    with subprocess.Popen(
        pinned(rig.other, ["nice", "-n", "19", *command]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as attackers:
        assert attackers.stdout is not None
        begun, _, _ = select.select([attackers.stdout], (), (), BEGUN_SECONDS)
        if not begun or attackers.stdout.readline() != "begun\n":
            raise RigError(f"{kind}: the attackers did not begin within {BEGUN_SECONDS:g} s")
        beside = _ask(rig, server, requests, seconds)
        # The end of their input is the end of the attack.
        seen, _ = attackers.communicate(timeout=ENDED_SECONDS)
    peak = peak_bytes(server.pid) / (1 << 20)
    rig.stop_servers()
    one, other = alone[len(alone) * 99 // 100], beside[len(beside) * 99 // 100]
    return (
        f"| {kind} | {one * 1e3:.1f} ms | {other * 1e3:.1f} ms | {other / one:.1f} | "
        f"{beside[-1] * 1e3:.0f} ms | {peak:.0f} MiB | {seen.strip()} |"
    )


def main() -> int:
    """Print the table."""
    kinds = list(Crowd([b"{}"]).kinds)
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(kinds)}")
    parser.add_argument("--quick", action="store_true", help="a small ledger and 15 seconds each")
    given = parser.parse_args()
    unknown = sorted(set(given.kinds) - set(kinds))
    if unknown:
        parser.error(f"KIND: expected one of {', '.join(kinds)}, got {', '.join(unknown)}")
    seconds = 15.0 if given.quick else 60.0
    try:
        with Rig(QUICK if given.quick else FULL) as rig:
            bodies = [msgspec.json.encode(each) for each in rig.questions(2, QUESTIONS)]
            bodies.append(_taken_back(rig))
            print("| attack | others' p99 alone | beside it | ratio | worst | memory | seen |")
            print("|---|---|---|---|---|---|---|")
            for kind in given.kinds or kinds:
                print(attacked(rig, kind, bodies, seconds), flush=True)
    except (RigError, VerifierError, load.Void) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
