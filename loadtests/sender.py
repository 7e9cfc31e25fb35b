"""One generator: sends a scenario's requests at their moments and counts, second by second.

Run as a process of its own (``python -m loadtests.sender``): it reads a ``Setup`` and then
``Order``s as lines of JSON, says ``ready``, and writes the windows of each order and ``done``. So
measuring the service and judging steps never make it late, and several share one target.
"""

from __future__ import annotations

import gc
import signal
import sys
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import accumulate, cycle
from random import Random
from time import monotonic, process_time
from typing import BinaryIO

import msgspec

from loadtests import questions
from loadtests.changing import Changing, NotFed
from loadtests.generator import arrivals
from loadtests.generator.arrivals import Slope
from loadtests.generator.connections import Address, BadAnswer, Reply
from loadtests.generator.loop import OpenLoop, priority
from loadtests.judging import Judge
from loadtests.questions import Book, Question
from loadtests.requests import Caller, Request
from loadtests.result import Cell, Window, encode
from loadtests.scenario import Scenario, Traffic

# Requests of a class that are kept ready; they repeat after that.
_MOST_OF_BULK = 40
_FEWEST = 8
READY = b"ready"


class Setup(msgspec.Struct, frozen=True):
    """What one of ``parts`` generators sends, and to whom. ``headers`` end with a line end each."""

    scenario: Scenario
    book: Book
    today: date
    address: Address
    host: str
    headers: str = ""
    seed: int = 0
    part: int = 0
    parts: int = 1
    patience: float = 15.0
    limit: int = 2_000
    connections: int = 32


class Order(msgspec.Struct, frozen=True):
    """Stages to run, one after the other.

    ``origin`` is the moment of second 0 and ``begin`` that of the first stage, by the monotonic
    clock. ``parts`` are those of each class, in the scenario's order, for each slope.
    ``timestamps`` replace the slopes' rates: seconds from ``begin``. A ``fresh`` order begins with
    no more connections than the first, however many an overload has opened.
    """

    slopes: list[Slope]
    parts: list[list[float]]
    origin: float
    begin: float
    timestamps: list[float] | None = None
    fresh: bool = False


class Sender:
    """A scenario, ready to be sent: ``with Sender(setup) as sender``, then ``run`` an order."""

    def __init__(self, setup: Setup) -> None:
        scenario = setup.scenario
        self._setup = setup
        self._random = Random(f"{setup.seed} {setup.part}")
        seed = setup.seed * setup.parts + setup.part
        asked = questions.of(scenario, setup.book, setup.today, seed)
        self._changing: Changing | None = None
        self._sources = [iter(self._source(traffic, asked)) for traffic in scenario.traffic]
        self.judge = Judge()
        self._loop = OpenLoop(setup.address, limit=setup.limit, patience=setup.patience)
        self._windows: dict[int, Window] = {}
        self._open = 0

    def _source(self, traffic: Traffic, asked: Sequence[Question]) -> Iterable[Request | None]:
        setup = self._setup
        caller = Caller(setup.host, setup.headers)
        if traffic.endpoint in ("single", "batch", "stream"):
            return cycle(caller.requests(traffic, cycle(asked), _ready(traffic, len(asked))))
        if self._changing is None:
            self._changing = Changing(setup.book, caller, setup.part, setup.parts, self._random)
            self._changing.feed(setup.address)
        if traffic.endpoint == "changed":
            return self._changing.asked(traffic)
        if traffic.endpoint == "change":
            return self._changing.changes(traffic)
        return self._changing.new(traffic)

    def __enter__(self) -> Sender:
        self._loop.connect(self._setup.connections)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.__exit__(None, None, None)

    def run(self, order: Order) -> list[Window]:
        """Send all of an order; the windows, once each request has been answered or given up."""
        setup, origin = self._setup, order.origin
        self._windows = {}
        if order.fresh:
            self._loop.narrow(setup.connections)
        seconds = sum(slope.seconds for slope in order.slopes)
        whole = self._moments(order)
        mine = arrivals.share(whole, setup.part, setup.parts)
        over = order.begin + seconds
        ends = [order.begin + end for end in accumulate(slope.seconds for slope in order.slopes)]
        shares = [list(accumulate(parts)) for parts in order.parts]

        def send(moment: float) -> None:
            # What is rounded beyond the last end belongs to the last slope.
            slope = min(bisect(ends, moment), len(ends) - 1)
            request = next(self._sources[self._draw(shares[slope])])
            if request is not None:
                self._send(request, moment, origin)

        self._loop.each((order.begin + moment for moment in mine), send)
        self._watch(order.begin, over, origin)
        self._loop.run(lambda: not self._open and self._loop.done and monotonic() >= over)
        return [self._windows[second] for second in sorted(self._windows)]

    def _moments(self, order: Order) -> Iterator[float]:
        if order.timestamps is not None:
            return iter(order.timestamps)
        # The same arrivals in every generator, of which each sends its own.
        steps = (
            arrivals.constant()
            if self._setup.scenario.arrivals == "constant"
            else arrivals.poisson(Random(f"{self._setup.seed} {order.begin - order.origin:.0f}"))
        )
        return arrivals.moments(order.slopes, steps)

    def _draw(self, shares: list[float]) -> int:
        return bisect(shares, self._random.random() * shares[-1]) if len(shares) > 1 else 0

    def _window(self, second: int) -> Window:
        window = self._windows.get(second)
        if window is None:
            window = self._windows[second] = Window(second)
        return window

    def _send(self, request: Request, moment: float, origin: float) -> None:
        window = self._window(int(moment - origin))
        window.lateness.record(monotonic() - moment)
        cell = window.cells.get(request.traffic.name)
        if cell is None:
            cell = window.cells[request.traffic.name] = Cell()
        cell.offered += 1
        cell.questions += len(request.questions)
        self._open += 1
        waited = self._loop.waited

        def done(reply: Reply) -> None:
            self._judge(self.judge.steps(request, reply, cell))

        self._loop.send(request.data, moment, done)
        window.waited += self._loop.waited - waited

    def _judge(self, steps: Iterator[None]) -> None:
        """Judge a part of a long reply, and the rest between what is due: late is void."""
        if next(steps, self) is self:
            self._open -= 1
        else:
            self._loop.at(monotonic(), lambda _: self._judge(steps))

    def _watch(self, begin: float, over: float, origin: float) -> None:
        """Book the CPU of each second."""
        used = process_time()

        def tick(moment: float) -> None:
            nonlocal used
            now = process_time()
            self._window(int(moment - origin - 0.5)).generator_cpu += now - used
            used = now
            if moment + 1 <= over:
                self._loop.at(moment + 1, tick)

        self._loop.at(begin + 1, tick)


def _ready(traffic: Traffic, asked: int) -> int:
    """How many requests of a class are kept ready: each question once, of bulk at most some."""
    if traffic.endpoint == "single":
        return asked
    return min(max(_FEWEST, asked // traffic.items), _MOST_OF_BULK)


class Done(msgspec.Struct, frozen=True, tag=True):
    """An order has been carried out; the first wrong answers so far, in words."""

    wrong: Sequence[str]


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Read a setup and orders, and write what comes of them, until the source ends."""
    setup = msgspec.json.decode(source.readline(), type=Setup)
    with Sender(setup) as sender, priority():
        # A collection that goes through all questions takes tens of milliseconds.
        gc.collect()
        gc.freeze()
        _write(sink, READY)
        for line in source:
            windows = sender.run(msgspec.json.decode(line, type=Order))
            sink.writelines(encode(window) + b"\n" for window in windows)
            _write(sink, msgspec.json.encode(Done(sender.judge.wrong)))


def _write(sink: BinaryIO, line: bytes) -> None:
    sink.write(line + b"\n")
    sink.flush()


if __name__ == "__main__":
    # Ctrl-C is for who has started it, and ends it in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except (NotFed, BadAnswer) as error:
        sys.exit(f"error: {error}")
