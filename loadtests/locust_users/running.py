"""A run by Locust's users. How it is noted, watched and summed up is the open loop's."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from math import ceil
from threading import RLock
from time import monotonic, time

import msgspec

from loadtests.hooks import Hooks
from loadtests.locust_users import timetable
from loadtests.locust_users.crew import Crew, CrewFailed
from loadtests.locust_users.greenlets import sleep
from loadtests.locust_users.timetable import PATIENCE, Leg
from loadtests.locust_users.watcher import Watcher
from loadtests.result import Result, Window
from loadtests.runs import Options, Run
from loadtests.scenario import Scenario
from loadtests.search import held
from loadtests.target import Target

# Between the order to begin and the first moment: until users are there.
_LEAD_SECONDS = 1.0
# Between steps, so that what one has left in queues is not the next one's.
_PAUSE_SECONDS = 2
# What the last request may take beyond its patience until it is booked.
_SETTLE_SECONDS = 1.0

_logger = logging.getLogger("locust.loadtests")


class LocustRun(Run):
    """A run under way: ``begin``, then ``users`` of each second until it is None, then ``end``.

    ``url`` is the service's; it tells of itself only over http.
    """

    def __init__(
        self, scenario: Scenario, target: Target, options: Options, url: str, crew: Crew
    ) -> None:
        super().__init__(scenario, target, options)
        self._url = url
        self._crew = crew
        self._legs = timetable.legs(scenario, options.rate)
        self._undo = ExitStack()
        self._ended = False
        # Locust has made it one for greenlets.
        self._closing = RLock()
        # What is under way, from which second of the run on; None between legs.
        self._leg: Leg | None = None
        self._second = 0
        self._users = 0
        self._failed: str | None = None

    def begin(self) -> None:
        """Have all get ready, and order the first stages. CrewFailed says what did not work."""
        self._crew.prepare(self._setup)
        self._options = msgspec.structs.replace(self._options, generators=len(self._crew))
        self._origin, self._epoch = monotonic() + _LEAD_SECONDS, time() + _LEAD_SECONDS
        self._began = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
        target = self._target
        self._watcher = Watcher(target.address, self._origin)
        self._hooks = Hooks(self._scenario.hooks, self._options.commands, target, self._origin)
        with ExitStack() as undo:
            if self._url.startswith("http://"):
                undo.enter_context(self._watcher)
            undo.enter_context(self._hooks.going_on())
            self._open(next(self._legs), 0)
            self._undo = undo.pop_all()

    def users(self) -> int | None:
        """How many there are to be: returns when the second has begun that they are for.

        None when all is over; the same as before when it is being stopped. CrewFailed when somebody
        does not do what it is told.
        """
        leg = self._leg
        if leg is None:
            return self._users
        gone = self._gone()
        second = max(0, ceil(gone))
        if second:
            sleep(second - gone)
        count = timetable.users(leg.stages, second)
        if count is None:
            windows = self._close(leg.seconds)
            if self._ended:
                return self._users
            try:
                leg = self._legs.send(leg.step and self._judged(leg, windows))
            except StopIteration:
                return None
            self._open(leg, int(monotonic() - self._origin + _LEAD_SECONDS) + _PAUSE_SECONDS)
            count = timetable.users(leg.stages, 0)
        assert count is not None
        self._users = count
        return count

    def end(self) -> Result | None:
        """Stop what is under way; what the run was, None when nothing was sent."""
        self._ended = True
        self._close(int(self._gone()))
        if self._stages:
            # The last second has gone by, and with it its numbers.
            over = self._origin + self._stages[-1].end + 0.5
            sleep(max(0.0, over - monotonic()))
        self._undo.close()
        if not self._stages:
            return None
        found = self._result(self._began, self._watcher.seconds, self._hooks, self._crew.wrong)
        found.environment["locust"] = version("locust")
        found.configuration |= {
            "generator": "locust (closed loop)",
            "arrivals": f"closed loop, {timetable.USER_RATE:g}/s a user",
            "target": self._url,
        }
        if self._crew.changed:
            self._failed = "workers came or went while it was under way"
        found.void = self._failed or found.void
        return found

    def _open(self, leg: Leg, second: int) -> None:
        self._crew.begin(self._epoch, second, leg.seconds)
        self._leg, self._second = leg, second

    def _gone(self) -> float:
        """Seconds of what is under way; below 0 until it begins."""
        return monotonic() - self._origin - self._second

    def _close(self, seconds: int) -> list[Window]:
        """Have what is under way answered, and note so many seconds of it; what was seen."""
        with self._closing:
            leg, self._leg = self._leg, None
            if leg is None:
                return []
            try:
                self._crew.settle(PATIENCE + _SETTLE_SECONDS)
            except CrewFailed as error:
                self._failed = str(error)
            windows = self._crew.taken()
            self._note(timetable.cut(leg.stages, seconds), self._second, windows)
            return windows

    def _judged(self, leg: Leg, windows: list[Window]) -> bool:
        """Whether a step was held: answered well, and as much as was meant to be asked."""
        steps, ran = self._scenario.steps, self._stages[-1]
        assert steps is not None
        middle = (ran.begin + ran.end) // 2
        halves = [
            [
                cell
                for window in windows
                if begin <= window.second < end
                for cell in window.cells.values()
            ]
            for begin, end in ((ran.begin, middle), (middle, ran.end))
        ]
        # A closed loop asks less when answers are late, and finds those good that it has.
        offered = sum(cell.offered for half in halves for cell in half)
        ran.held = held(steps, halves) and offered >= steps.goodput * timetable.planned(leg.stages)
        _logger.info("%s: %s", ran.name, "held" if ran.held else "not held")
        return ran.held
