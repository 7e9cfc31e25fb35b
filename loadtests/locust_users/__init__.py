"""The same scenarios for Locust: ``locust -f loadtests/scenarios/NAME.py --host URL``.

Locust's users wait for their answers, so its latencies are those of a closed loop: what would have
been asked meanwhile is not. It is here for its web page, for https, and for teams that know it; the
numbers to plan with come from ``python -m loadtests run``. Answers are judged alike, and the run
leaves the same report.

Where to look:

- options: what the command line and the web page let one choose
- timetable: which stages follow each other, and how many users each second has
- load: what one process asks, and what came of it
- greenlets: what is used of gevent
- users: the users themselves, and the two classes that Locust looks for
- member: how a process that sends is told what to do
- crew: how the process that leads tells all of them, and what it hears
- watcher: what the service says of itself meanwhile
- running: a run, leg by leg
- leading: from what was chosen to the report

The first three know nothing of Locust, which replaces Python's sockets when it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtests.scenario import Scenario

if TYPE_CHECKING:
    from locust import FastHttpUser, LoadTestShape


def of(scenario: Scenario) -> tuple[type[FastHttpUser], type[LoadTestShape]]:
    """A scenario's user and shape, for Locust to find in the scenario's file."""
    from loadtests.locust_users.users import classes

    return classes(scenario)
