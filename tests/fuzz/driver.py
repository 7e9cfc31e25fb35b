"""Sends inputs to a service over many connections, and checks all that comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from tests.fuzz.answers import Answer, Documented, Wrong, read
from tests.fuzz.inputs import Asked, Input, make
from tests.fuzz.line import Line

# No input may take longer, in seconds: no bound of the service that it could run into is as long.
PATIENCE = 30.0

# Where a single input can be sent again.
_TESTS = "tests/fuzz/test_service.py"

# After so many faults the rest would say the same.
_ENOUGH = 5


class Fault(Exception):
    """What inputs did that none may do; names seed and numbers."""


class Fuzzer:
    """Asks a service on a port of this machine; ``seed`` makes the inputs."""

    def __init__(self, port: int, seed: int, documented: Documented, connections: int = 8) -> None:
        self.answers = Counter[str]()
        self.sent = Counter[str]()
        self._port = port
        self._seed = seed
        self._documented = documented
        self._connections = connections
        self._faults: list[str] = []

    async def run(self, first: int, count: int) -> None:
        """Send the inputs of so many numbers, from the first one on; raises Fault."""
        numbers = iter(range(first, first + count))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._connections):
                group.create_task(self._client(numbers))
        if self._faults:
            raise Fault("\n".join(self._faults))

    async def _client(self, numbers: Iterator[int]) -> None:
        line: Line | None = None
        for number in numbers:
            given = make(self._seed, number)
            self.sent[given.sort] += 1
            alone = given.leaves or given.asked is None
            try:
                async with asyncio.timeout(PATIENCE):
                    if alone:
                        # What may mean anything has a connection of its own.
                        await self._give_alone(given)
                        continue
                    if line is None:
                        line = await Line.open(self._port)
                    goes_on = await self._give(given, line)
            except (Wrong, TimeoutError, ConnectionError, ValueError) as error:
                self._note(given, error)
                goes_on = alone
            if line is not None and not goes_on:
                line.close(reset=True)
                line = None
            if len(self._faults) >= _ENOUGH:
                break
        if line is not None:
            line.close()

    def _note(self, given: Input, error: BaseException) -> None:
        said = str(error) or f"{type(error).__name__}: no answer within {PATIENCE:g} s"
        self._faults.append(
            f"input {given.number} ({given.sort}): {said}\n"
            f"  again: make fuzz TESTS={_TESTS} SEED={self._seed} FIRST={given.number} INPUTS=1\n"
            f"  sent: {b''.join(given.pieces)[:1_500]!r}"
        )

    async def _give(self, given: Input, line: Line) -> bool:
        """Send an input and check its answers; whether the connection goes on."""
        await line.send(given.pieces)
        for asked in given.asked or ():
            answer = await read(line, head_only=asked.method == "HEAD")
            if answer is None:
                raise Wrong("the connection ended without an answer and unannounced")
            self._take(asked, answer)
            if answer.closes:
                # A head that cannot be read is nobody's HEAD, and its refusal has a body.
                unread = answer.status == 400 and asked.method == "HEAD"
                # What was sent behind may reset it.
                with suppress(ConnectionError):
                    if await line.rest() and not unread:
                        raise Wrong("more comes behind an answer that said it was the last")
                return False
        return True

    async def _give_alone(self, given: Input) -> None:
        """Send an input that may mean anything, check what comes until the end, if it stays."""
        line = await Line.open(self._port)
        try:
            await line.send(given.pieces)
            if not given.leaves:
                line.half_close()
                # What cannot be read ends the connection, whatever of it still comes.
                with suppress(ConnectionError):
                    await self._answers(line)
        finally:
            line.close(reset=True)

    async def _answers(self, line: Line) -> None:
        closes = False
        while (answer := await read(line)) is not None:
            if closes:
                raise Wrong("an answer behind one that said it was the last")
            closes = answer.closes
            self._take(None, answer)

    def _take(self, asked: Asked | None, answer: Answer) -> None:
        self._documented.check(asked, answer)
        self.answers[f"{asked.path or 'elsewhere' if asked else 'any'} {answer.status}"] += 1
