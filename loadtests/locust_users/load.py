"""What one of several processes asks, and what came of it, second by second."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import count, cycle, islice
from random import Random
from time import process_time
from typing import TypedDict

from loadtests import questions
from loadtests.changing import Changing
from loadtests.generator.connections import Reply
from loadtests.locust_users.timetable import Shares
from loadtests.questions import Question
from loadtests.requests import Caller, Request, fields_of
from loadtests.result import Cell, Window, encode
from loadtests.scenario import Traffic
from loadtests.sender import Setup

# Wrong answers that are quoted: each has a line of its own in Locust's statistics.
_QUOTES = 20


class Told(TypedDict):
    """What goes to who leads: windows as JSON, and wrong answers in words."""

    windows: list[bytes]
    wrong: list[str]


class Load:
    """A share of a run. All users of a process draw from it, so that no two ask the same.

    ValueError says which part of the setup cannot be used.
    """

    def __init__(self, setup: Setup) -> None:
        scenario = setup.scenario
        self.traffic = scenario.traffic
        self.headers = fields_of(setup.headers)
        # Moments of the monotonic clock: second 0 of the run; from when on, and until when to send.
        self._origin = self._begin = self._end = 0.0
        # Requests under way.
        self.open = 0
        self._setup = setup
        self._random = Random(f"{setup.seed} {setup.part}")
        self._shares = Shares(scenario)
        self._wrong: list[str] = []
        self._quoted = 0
        self._windows: dict[int, Window] = {}
        self._cpu = process_time()
        seed = setup.seed * setup.parts + setup.part
        asked = questions.of(scenario, setup.book, setup.today, seed)
        self._changing: Changing | None = None
        self._sources = [self._source(each, asked) for each in scenario.traffic]

    def feed(self) -> None:
        """Bring what is going to change into the ledger. NotFed when the service refuses."""
        if self._changing is not None:
            self._changing.feed(self._setup.address)

    def start(self, origin: float, second: int, seconds: int) -> None:
        """Send for so many seconds, from a second of the run on, whose second 0 is ``origin``."""
        self._origin = origin
        self._begin = origin + second
        self._end = self._begin + seconds
        self._cpu = process_time()

    def stop(self) -> None:
        """Send nothing more until the next start."""
        self._end = self._begin

    def next(self, now: float) -> Request | None:
        """The next request; None while there is nothing to send."""
        if not self._begin <= now < self._end:
            return None
        shares = self._shares.at(now - self._origin)
        return next(self._sources[bisect(shares, self._random.random() * shares[-1])])

    def book(self, request: Request, reply: Reply, cell: Cell, wrong: Sequence[str]) -> str | None:
        """Book a reply as it was judged; what Locust is to show as a failure, None when right."""
        second = int(reply.sent - self._origin)
        window = self._windows.setdefault(second, Window(second))
        window.cells.setdefault(request.traffic.name, Cell()).merge(cell)
        used = process_time()
        window.generator_cpu += used - self._cpu
        self._cpu = used
        if not cell.wrong:
            return _complaint(cell)
        if self._quoted >= _QUOTES or not wrong:
            return "wrong: like those above"
        self._quoted += 1
        self._wrong += wrong[:1]
        return f"wrong: {wrong[0]}"

    def told(self) -> Told:
        """What has come of the run since it was told last: windows, and wrong answers in words."""
        windows = [encode(window) for window in self._windows.values()]
        wrong = self._wrong
        self._windows, self._wrong = {}, []
        return {"windows": windows, "wrong": wrong}

    def _source(self, traffic: Traffic, asked: Sequence[Question]) -> Iterator[Request | None]:
        setup = self._setup
        caller = Caller(setup.host, setup.headers)
        if traffic.endpoint in ("single", "batch", "stream"):
            source = cycle(asked)
            return (caller.request(traffic, tuple(islice(source, traffic.items))) for _ in count())
        if self._changing is None:
            self._changing = Changing(setup.book, caller, setup.part, setup.parts, self._random)
        if traffic.endpoint == "changed":
            return self._changing.asked(traffic)
        if traffic.endpoint == "change":
            return self._changing.changes(traffic)
        return self._changing.new(traffic)


def _complaint(cell: Cell) -> str | None:
    """Which kind of failure a reply is, and why; None when it has what was asked for."""
    if cell.lost:
        return f"lost: {_loss(cell)}"
    if cell.refused:
        return f"refused: {', '.join(cell.reasons)}"
    if cell.unavailable:
        return f"unavailable: {', '.join(cell.reasons)}"
    return None


def _loss(cell: Cell) -> str:
    if cell.failures:
        return f"status {', '.join(cell.failures)}"
    if cell.cut:
        return "the connection ended before the answer"
    if cell.hung:
        return "no answer in time"
    if cell.unreachable:
        return "no connection"
    return "the answer ended early"
