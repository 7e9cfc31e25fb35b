"""A process that sends: Locust's only one, or one of its workers. It does what the leader says."""

from __future__ import annotations

from time import monotonic, time
from typing import Any

import msgspec
from locust.env import Environment
from locust.rpc import Message
from locust.runners import Runner, WorkerRunner

from loadtests.changing import NotFed
from loadtests.locust_users.greenlets import in_thread, listen, wait
from loadtests.locust_users.load import Load
from loadtests.sender import Setup

# What the leader says to all who send, and what each replies when it is done.
PREPARE, BEGIN, SETTLE = "loadtests-prepare", "loadtests-begin", "loadtests-settle"
DONE = "loadtests-done"
# Under which name windows travel in the reports that workers send every few seconds anyway.
REPORTED = "loadtests"


class Member:
    """What a process has to send: ``load``, None until it has been told."""

    def __init__(self) -> None:
        self.load: Load | None = None

    def join(self, environment: Environment, runner: Runner) -> None:
        """Listen to the leader."""
        self._runner = runner
        for kind, listener in (
            (PREPARE, self._prepare),
            (BEGIN, self._begin),
            (SETTLE, self._settle),
        ):
            runner.register_message(kind, listener)
        if isinstance(runner, WorkerRunner):
            listen(environment.events.report_to_master, self._report)

    def _prepare(self, msg: Message, **_: Any) -> None:
        setup = msgspec.json.decode(msg.data["setup"], type=Setup)
        try:
            # A thread of its own: whoever does not send heartbeats for seconds is taken for dead.
            self.load = in_thread(Load, setup)
            self.load.feed()
        except (NotFed, ValueError) as error:
            self._reply(error=str(error))
            return
        self._reply()

    def _begin(self, msg: Message, **_: Any) -> None:
        assert self.load is not None
        # Clocks of several machines have only the time of day in common.
        origin = monotonic() + msg.data["origin"] - time()
        self.load.start(origin, msg.data["second"], msg.data["seconds"])
        self._reply()

    def _settle(self, environment: Environment, msg: Message, **_: Any) -> None:
        load = self.load
        assert load is not None
        load.stop()
        wait(lambda: not load.open, msg.data["patience"])
        if isinstance(self._runner, WorkerRunner):
            # Users that are stopped now need no time, which a worker would wait for to the end.
            environment.stop_timeout = 0.0
        self._reply(**load.told())

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        if self.load is not None:
            data[REPORTED] = self.load.told()

    def _reply(self, **told: Any) -> None:
        self._runner.send_message(DONE, told)
