"""Leads runs, in Locust's only process or its master. Each run leaves its report."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from pathlib import Path
from signal import Signals
from typing import Any
from urllib.parse import urlsplit

from locust import log
from locust.env import Environment
from locust.runners import Runner

from loadtests import result
from loadtests.locust_users import options
from loadtests.locust_users.crew import Crew, CrewFailed
from loadtests.locust_users.greenlets import interrupt_at, listen
from loadtests.locust_users.options import BadOption, Choices
from loadtests.locust_users.running import LocustRun
from loadtests.locust_users.timetable import PATIENCE
from loadtests.questions import Book
from loadtests.requests import bearing
from loadtests.result import Result
from loadtests.runs import Options
from loadtests.scenario import Scenario
from loadtests.target import Target, today
from verifier.cli.credentials import BadKey, take_key

_RESULTS = Path("loadtests-results")
# As `python -m loadtests run` exits: an answer was wrong; the run does not count, or did not begin.
_WRONG, _VOID = 1, 2
# What needs a connection of its own to be prepared, which is a plain one.
_CHANGING = frozenset({"changed", "change", "feed"})

_logger = logging.getLogger("locust.loadtests")


class Leader:
    """Says how many users there are, and what came of it: the shape asks it second by second."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._run: LocustRun | None = None
        self._finishing = False
        self._folder: Path | None = None
        self._tick = 0, 1.0

    def lead(self, environment: Environment, runner: Runner) -> None:
        """Lead from now on; a run begins when it is asked for its first users."""
        self._environment = environment
        self._runner = runner
        self._commands = options.hooks(_given(environment))
        self._key = _key(_given(environment))
        self._crew = Crew(environment, runner)
        # Workers and users are still there when a test is about to stop. Without workers a master
        # stops without a word.
        listen(environment.events.test_stopping, self._finish)
        listen(environment.events.quitting, self._finish)
        if _given(environment).headless:
            # Locust itself does not know SIGTERM until a headless run is over.
            interrupt_at(Signals.SIGINT, Signals.SIGTERM)

    def tick(self) -> tuple[int, float] | None:
        """Users of the second that begins, and how many may come or go in it; None at the end."""
        try:
            if self._run is None:
                self._run = self._begun()
            users = self._run.users()
        except (BadOption, CrewFailed) as error:
            _logger.error("%s", error)
            self._environment.process_exit_code = _VOID
            return None
        if users is None:
            return None
        before = self._tick[0]
        if users != before:
            self._tick = users, float(abs(users - before))
        return self._tick

    def _chosen(self) -> Namespace:
        """What was chosen, with Locust's own --run-time, which it does not apply to a shape."""
        given = _given(self._environment)
        if given.run_time and not given.duration:
            return Namespace(**{**vars(given), "duration": str(given.run_time)})
        return given

    def _begun(self) -> LocustRun:
        environment = self._environment
        choices = options.choices(self._chosen())
        scenario = options.chosen(self._scenario, choices)
        environment.host = (environment.host or "").rstrip("/")
        target = _target(environment.host, choices, scenario)
        settings = Options(
            rate=choices.rate_factor,
            headers=bearing(self._key),
            patience=PATIENCE,
            commands=self._commands,
        )
        # Users that go in the middle of a request wait for its answer.
        environment.stop_timeout = max(environment.stop_timeout or 0.0, PATIENCE)
        self._folder = choices.report
        self._tick = 0, 1.0
        run = LocustRun(scenario, target, settings, environment.host, self._crew)
        try:
            run.begin()
        except ValueError as error:
            raise BadOption(str(error)) from None
        return run

    def _finish(self, **_: Any) -> None:
        run = self._run
        if run is None or self._finishing:
            return
        self._finishing = True
        try:
            found = run.end()
            if found is not None:
                self._report(found)
        finally:
            self._run, self._finishing = None, False

    def _report(self, found: Result) -> None:
        # It draws, which a worker does not have to load.
        from loadtests import report

        moment = found.began[:19].replace(":", "")
        folder = self._folder or _RESULTS / f"{moment}-{found.scenario}-locust"
        result.write(found, folder)
        report.write(found, folder)
        print(report.headline(found))
        print(f"report: {folder / 'report.html'}", flush=True)
        for text in found.wrong:
            _logger.error("wrong: %s", text)
        if self._environment.process_exit_code != _WRONG:
            self._environment.process_exit_code = self._exit_code(found)

    def _exit_code(self, found: Result) -> int | None:
        """None: as Locust has it, which knows --exit-code-on-error."""
        total = found.total
        if total.wrong:
            return _WRONG
        if found.void:
            return _VOID
        if total.lost or self._runner.exceptions or log.unhandled_greenlet_exception:
            return None
        # To be refused, or told that the ledger cannot be read, is no error of the service.
        return 0


def _given(environment: Environment) -> Namespace:
    given: Namespace | None = environment.parsed_options
    assert given is not None
    return given


def _key(given: Namespace) -> str | None:
    """The key to ask with. Ends Locust when it cannot be used."""
    try:
        return take_key(given.key, os.environ, _logger.warning)
    except BadKey as error:
        _logger.error("%s", error)
        # Locust goes on after any other exception of a listener.
        sys.exit(_VOID)


def _target(url: str, choices: Choices, scenario: Scenario) -> Target:
    try:
        parsed = urlsplit(url)
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
    except ValueError:
        raise BadOption(f"--host: expected http[s]://HOST[:PORT], got {url!r}") from None
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise BadOption(f"--host: expected http[s]://HOST[:PORT], got {url!r}")
    if parsed.scheme == "https" and any(each.endpoint in _CHANGING for each in scenario.traffic):
        raise BadOption(
            f"--host: {scenario.name} changes the ledger; expected http://, got {url!r}"
        )
    book = Book(choices.rows, choices.ledger_seed, choices.until or today())
    return Target((parsed.hostname, port), parsed.netloc, book, dict)
