"""A proxy between the workers and the databases that misbehaves on demand; a process of its own.

Run as a script with one ``NAME=SOCKET`` for each server: it prints a TCP port for each, then obeys
lines of ``NAME MODE`` on its standard input and prints the line again once it is done. Modes:
``forward``; the name of another server (new connections lead there, and those that are open stay);
``slow`` (answers take some 200 ms more, and may overtake those of other connections);
``hole`` (connections are accepted, and nothing is ever read or written again, as if packets were
dropped); ``refuse`` (connections break, and new ones are refused).
"""

from __future__ import annotations

import asyncio
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random

# Seconds, drawn evenly.
DELAY = (0.1, 0.3)
_BLOCK = 1 << 16


class Gateway:
    """The way to one server."""

    def __init__(self, name: str, targets: Mapping[str, str]) -> None:
        self.name = name
        self.port = 0
        self._targets = targets
        self._mode = "forward"
        self._random = Random(name)
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Accept connections, on the port that it had before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def behave(self, mode: str) -> None:
        """Change the mode, for connections that there are as well."""
        self._mode = mode
        if mode == "hole":
            self._open.clear()
        else:
            self._open.set()
        if mode == "refuse":
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._writers):
                writer.transport.abort()
        else:
            await self.listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open.wait()
            their_reader, their_writer = await asyncio.open_unix_connection(
                self._targets.get(self._mode) or self._targets[self.name]
            )
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(their_writer)
        to_server = asyncio.create_task(self._pump(reader, their_writer, slow=False))
        to_client = asyncio.create_task(self._pump(their_reader, writer, slow=True))
        self._pumps |= {to_server, to_client}
        await asyncio.wait({to_server, to_client}, return_when=asyncio.FIRST_COMPLETED)
        for task in (to_server, to_client):
            task.cancel()
        for each in (writer, their_writer):
            self._writers.discard(each)
            each.transport.abort()
        await asyncio.wait({to_server, to_client})
        self._pumps -= {to_server, to_client}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool
    ) -> None:
        try:
            while data := await reader.read(_BLOCK):
                if slow and self._mode == "slow":
                    await asyncio.sleep(self._random.uniform(*DELAY))
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass


async def main(arguments: list[str]) -> None:
    """Serve until the standard input ends."""
    targets = dict(argument.split("=", 1) for argument in arguments)
    gateways = {name: Gateway(name, targets) for name in targets}
    for gateway in gateways.values():
        await gateway.listen()
    say(" ".join(str(gateway.port) for gateway in gateways.values()))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := (await reader.readline()).decode().split():
        name, mode = line
        await gateways[name].behave(mode)
        say(f"{name} {mode}")


def say(line: str) -> None:
    """A line for whoever started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Proxy:
    """The process in front of servers, which are given by name with the paths of their sockets."""

    def __init__(self, targets: Mapping[str, Path]) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.faults.proxy"),
                *(f"{name}={target}" for name, target in targets.items()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.ports = dict(zip(targets, map(int, self._said().split()), strict=True))

    def behave(self, name: str, mode: str) -> None:
        """Have the way to a server behave so; returns, within milliseconds, when it does."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {mode}\n")
        said = self._said()
        assert said == f"{name} {mode}", said

    def close(self) -> None:
        """End the process."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10.0)

    def _said(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], (), (), 20.0)
        assert ready, "the proxy says nothing"
        return self._process.stdout.readline().strip()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
