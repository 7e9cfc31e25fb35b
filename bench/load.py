"""Load: wrk for single questions at saturation, the loop of loadtests/generator for all else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from random import Random
from time import monotonic, process_time
from typing import TypeVar

import msgspec

from loadtests.generator import arrivals
from loadtests.generator.arrivals import Slope
from loadtests.generator.connections import Address, Reply
from loadtests.generator.loop import OpenLoop, priority
from loadtests.processes import RigError, pinned

SCRIPT = Path(__file__).parent / "ask.lua"

# What the generator itself may take of its core, and how late it may be, before a run is void.
MOST_OF_CORE = 0.8
LATE_SECONDS = 0.001
LATE_SHARE = 0.01
# A run that does not count is taken again so often.
_TRIES = 4

T = TypeVar("T")


class Void(Exception):
    """A run whose generator was the bottleneck; says how."""


def counted(name: str, measure: Callable[[], T]) -> T | None:
    """One measurement that counts, of a few tries; None when none did."""
    for _ in range(_TRIES):
        try:
            return measure()
        except Void as void:
            print(f"  {name}: void: {void}", flush=True)
    return None


class Saturated(msgspec.Struct, frozen=True):
    """What a closed loop has got: answers, seconds, the generator's share of its core."""

    answers: int
    seconds: float
    generator: float
    p99: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class Latencies(msgspec.Struct, frozen=True):
    """What an open loop has got: seconds from the intended moment to the answer, in order."""

    seconds: list[float]
    generator: float
    late: float

    def percentile(self, share: float) -> float:
        """The latency that so many (0 to 1) are within."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def wrk(
    url: str, questions: Path, core: int, *, seconds: float, offset: int = 0, connections: int = 64
) -> Saturated:
    """Single questions as fast as they are answered, for whole seconds. All answers must be 2xx.

    RigError when wrk is missing or an answer was not; Void when wrk had too little of its core.
    """
    if shutil.which("wrk") is None:
        raise RigError("wrk is not installed (Debian's package of that name); it is the load here")
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        # A pool may let a caller wait for seconds while others pass; that is late, not lost.
        "--timeout",
        "10s",
        "-s",
        str(SCRIPT),
        url,
    ]
    command += ["--", str(questions), "/v1/verify", str(offset)]
    with subprocess.Popen(pinned(core, command), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        # Once, and with what it has used.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RigError(f"wrk ended with {process.returncode}:\n{printed[-2000:]}")
    said = json.loads(printed.rstrip().rpartition("\n")[2])
    if said["refused"] or said["broken"] or not said["requests"]:
        raise RigError(f"{url}: not all questions were answered: {said}")
    share = (used.ru_utime + used.ru_stime) / said["seconds"]
    if share > MOST_OF_CORE:
        raise Void(f"wrk took {share:.0%} of its core")
    return Saturated(said["requests"], said["seconds"], share, said["p99"])


def closed_loop(
    address: Address,
    requests: Sequence[bytes],
    ends_with: bytes,
    *,
    seconds: float,
    connections: int,
) -> Saturated:
    """Requests as fast as they are answered; each answer must have ``ends_with`` near its end."""
    source = cycle(requests)
    answers = 0
    with OpenLoop(address, limit=connections) as loop, priority():
        loop.connect(connections)
        begin, used = monotonic(), process_time()
        over = begin + seconds

        def done(reply: Reply) -> None:
            nonlocal answers
            end = reply.body[-200:]
            if b'"unavailable":' in end and b'"unavailable":0' not in end:
                raise Void("the service refused a part: somebody else has its core")
            if reply.status != 200 or ends_with not in end:
                raise RigError(f"status {reply.status}: {end!r}")
            if reply.received < over:
                answers += 1
                loop.send(next(source), reply.received, done)

        for _ in range(connections):
            loop.send(next(source), begin, done)
        loop.run(lambda: monotonic() >= over)
        taken = monotonic() - begin
        share = (process_time() - used) / taken
        # What is still under way would be in the way of the next measurement.
        loop.run(lambda: not loop.open)
    if share > MOST_OF_CORE:
        raise Void(f"the generator took {share:.0%} of its core")
    return Saturated(answers, taken, share)


def open_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    random: Random,
    connections: int = 64,
) -> Latencies:
    """Requests at random moments (a Poisson process of ``rate`` a second), answered or not.

    A request that finds no connection idle waits for one, and its latency counts from the moment
    that it was meant for. Void when the generator was late or short of its core.
    """
    source = cycle(requests)
    taken: list[float] = []
    late = sent = 0
    with OpenLoop(address, limit=connections) as loop, priority():
        loop.connect(connections)
        begin, used = monotonic(), process_time()

        def done(reply: Reply) -> None:
            if reply.status != 200:
                raise RigError(f"status {reply.status}: {reply.body[-200:]!r}")
            taken.append(reply.received - reply.intended)

        def send(moment: float) -> None:
            nonlocal late, sent
            late += monotonic() - moment > LATE_SECONDS
            sent += 1
            loop.send(next(source), moment, done)

        moments = arrivals.moments([Slope(seconds, rate, rate)], arrivals.poisson(random))
        loop.each((begin + moment for moment in moments), send)
        loop.run(lambda: loop.done)
        share = (process_time() - used) / (monotonic() - begin)
    if share > MOST_OF_CORE:
        raise Void(f"the generator took {share:.0%} of its core")
    if late > LATE_SHARE * sent:
        raise Void(f"the generator was late with {late / sent:.1%} of its requests")
    return Latencies(sorted(taken), share, late / max(1, sent))
