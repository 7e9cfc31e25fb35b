"""All processes that send, as the one that leads sees them: told together, heard as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from locust.env import Environment
from locust.rpc import Message
from locust.runners import MasterRunner, Runner

from loadtests.locust_users.greenlets import listen, wait
from loadtests.locust_users.member import BEGIN, DONE, PREPARE, REPORTED, SETTLE
from loadtests.result import Window, decode_window
from loadtests.sender import Setup

# Making the questions takes some seconds, feeding the ledger some more.
_PREPARE_SECONDS = 300.0
_BEGIN_SECONDS = 5.0
# What a member may take beyond the patience that it has with requests.
_GRACE = 5.0


class CrewFailed(Exception):
    """A process that was to send cannot, or does not answer; the message says what is wrong."""


class Crew:
    """The workers of a master, or this process when there is no master."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self._runner = runner
        self._members: list[str] = []
        self._awaited: set[str] = set()
        self._errors: list[str] = []
        self._windows: dict[int, Window] = {}
        # The first wrong answers since the run was prepared, in words.
        self.wrong: list[str] = []
        runner.register_message(DONE, self._hear)
        listen(environment.events.worker_report, self._hear_report)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def changed(self) -> bool:
        """Whether workers have come or gone since the run was prepared: its load is not known."""
        return self._present() != set(self._members)

    def prepare(self, setup: Setup) -> None:
        """Have all who are there make their share. CrewFailed when one cannot."""
        self._members = sorted(self._present())
        if not self._members:
            raise CrewFailed("expected at least one worker, got none: start some with --worker")
        parts = len(self._members)
        told = {
            member: {"setup": _encoded(msgspec.structs.replace(setup, part=part, parts=parts))}
            for part, member in enumerate(self._members)
        }
        self._tell(PREPARE, told, _PREPARE_SECONDS)
        # Whatever was left of the run before has come by now.
        self._windows, self.wrong = {}, []

    def begin(self, origin: float, second: int, seconds: int) -> None:
        """Have all send for so many seconds, from a second on; ``origin`` is since the epoch."""
        told = {"origin": origin, "second": second, "seconds": seconds}
        self._tell_all(BEGIN, told, _BEGIN_SECONDS)

    def settle(self, patience: float) -> None:
        """Have none send any more, and say what it has seen. CrewFailed when one does not."""
        self._tell_all(SETTLE, {"patience": patience}, patience + _GRACE)

    def taken(self) -> list[Window]:
        """What all have said since the last time, as one."""
        windows, self._windows = self._windows, {}
        return [windows[second] for second in sorted(windows)]

    def _present(self) -> set[str]:
        runner = self._runner
        if not isinstance(runner, MasterRunner):
            return {"local"}
        clients = runner.clients
        return {each.id for each in (*clients.ready, *clients.spawning, *clients.running)}

    def _tell_all(self, kind: str, data: Mapping[str, float], patience: float) -> None:
        self._tell(kind, dict.fromkeys(self._present() & set(self._members), data), patience)

    def _tell(self, kind: str, told: Mapping[str, Mapping[str, Any]], patience: float) -> None:
        self._awaited, self._errors = set(told), []
        for member, data in told.items():
            self._runner.send_message(kind, dict(data), member)
        # Those that go meanwhile have said all that they could.
        replied = wait(lambda: not self._awaited & self._present(), patience)
        if self._errors:
            raise CrewFailed(self._errors[0])
        if not replied:
            raise CrewFailed(
                f"{kind}: expected a reply within {patience:.0f} s, got none from "
                f"{', '.join(sorted(self._awaited))}"
            )

    def _hear(self, msg: Message, **_: Any) -> None:
        if "error" in msg.data:
            self._errors.append(msg.data["error"])
        else:
            self._add(msg.data)
        self._awaited.discard(msg.node_id)

    def _hear_report(self, data: Mapping[str, Any], **_: Any) -> None:
        self._add(data.get(REPORTED, {}))

    def _add(self, told: Mapping[str, Iterable[Any]]) -> None:
        for line in told.get("windows", ()):
            window = decode_window(line)
            self._windows.setdefault(window.second, Window(window.second)).merge(window)
        self.wrong += told.get("wrong", ())


def _encoded(setup: Setup) -> bytes:
    # Read-only mappings are the only thing in it that JSON does not know.
    return msgspec.json.encode(setup, enc_hook=dict)
