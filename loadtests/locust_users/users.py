"""The users themselves, and the two classes that Locust looks for in a scenario's file."""

from __future__ import annotations

from random import random
from socket import gaierror
from time import monotonic
from typing import Any

from locust import FastHttpUser, LoadTestShape, events, task
from locust.contrib.fasthttp import LocustBadStatusCode, ResponseContextManager
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtests.generator.connections import CUT, HUNG, UNREACHABLE, Reply
from loadtests.judging import Judge
from loadtests.locust_users import options
from loadtests.locust_users.greenlets import Timeout, listen, sleep
from loadtests.locust_users.leading import Leader
from loadtests.locust_users.load import Load
from loadtests.locust_users.member import Member
from loadtests.locust_users.timetable import PATIENCE, USER_RATE
from loadtests.requests import Request
from loadtests.result import Cell
from loadtests.scenario import PATHS, Scenario

_INTERVAL = 1 / USER_RATE


class Asker(FastHttpUser):
    """Asks at its own pace, and waits for each answer before it asks again."""

    abstract = True
    network_timeout = connection_timeout = PATIENCE
    member: Member

    def on_start(self) -> None:
        """Begin at a moment of its own: users that are started together would ask together."""
        self._due = monotonic() + random() * _INTERVAL
        sleep(self._due - monotonic())

    def wait_time(self) -> float:
        """What is left of its interval. What a slow answer has used up is not made up for."""
        now = monotonic()
        self._due = max(self._due + _INTERVAL, now)
        return self._due - now

    @task
    def ask(self) -> None:
        """Ask what is next, and judge the answer."""
        load = self.member.load
        if load is None:
            # A worker that came when the run was under way: the run does not count.
            return
        request = load.next(monotonic())
        if request is None:
            return
        load.open += 1
        try:
            self._ask(load, request)
        finally:
            load.open -= 1

    def _ask(self, load: Load, request: Request) -> None:
        headers = {
            **load.headers,
            "Content-Type": request.media,
            # As the open loop's generator, which asks for no compression.
            "Accept-Encoding": "identity",
        }
        traffic = request.traffic
        sent = monotonic()
        with self.client.post(
            PATHS[traffic.endpoint],
            data=request.body,  # type: ignore[arg-type]  # bytes do as well
            headers=headers,
            name=traffic.name,
            catch_response=True,
            allow_redirects=False,
        ) as response:
            body = response.content or b""
            reply = Reply(_status(response), b"", body, sent, sent, monotonic())
            judge, cell = Judge(), Cell(offered=1, questions=len(request.questions))
            for _ in judge.steps(request, reply, cell):
                # Others are not to wait until a long answer has been judged.
                sleep(0)
            failure = load.book(request, reply, cell, judge.wrong)
            if failure is None:
                response.success()
            else:
                response.failure(failure)


def _status(response: ResponseContextManager) -> int:
    """The status, or what takes its place when there was no whole answer."""
    error = response.request_meta["exception"]
    if error is None or isinstance(error, LocustBadStatusCode):
        return response.status_code
    # The client wraps a timeout as the one retry too many that it was not to make.
    error = getattr(error, "original", error)
    if isinstance(error, ConnectionRefusedError | gaierror):
        return UNREACHABLE
    if isinstance(error, TimeoutError | Timeout):
        return HUNG
    return CUT


def classes(scenario: Scenario) -> tuple[type[FastHttpUser], type[LoadTestShape]]:
    """A scenario's user and shape; Locust's events are listened to from now on."""
    leader = Leader(scenario)

    class User(Asker):
        """Asks what the scenario asks."""

        member = Member()

    class Shape(LoadTestShape):
        """As many users as the scenario's rates need."""

        def tick(self) -> tuple[int, float] | None:
            """Users of the second that begins, and how many may come or go in it."""
            return leader.tick()

    def init(environment: Environment, runner: Runner, **_: Any) -> None:
        if not isinstance(runner, MasterRunner):
            User.member.join(environment, runner)
        if not isinstance(runner, WorkerRunner):
            leader.lead(environment, runner)

    listen(events.init_command_line_parser, options.add)
    listen(events.init, init)
    return User, Shape
