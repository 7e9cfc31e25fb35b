"""Several generators on this machine as one: started together, their windows merged."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import MappingProxyType, TracebackType
from typing import Self

import msgspec

from loadtests.merging import merged_windows
from loadtests.processes import pinned, python
from loadtests.result import Window, decode_window
from loadtests.sender import READY, Done, Order, Setup

# Generators stop by themselves when their orders end; this is for one that does not.
_STOP_SECONDS = 5.0


class GeneratorFailed(Exception):
    """A generator has ended before its order was done; its own words are on the terminal."""


class Crowd:
    """``count`` processes, on ``core`` if given. ``with Crowd(...) as crowd``, then ``run``.

    The setup's ``part`` of ``parts`` is this machine's of several: each process takes one of its.
    """

    def __init__(self, setup: Setup, count: int = 1, core: int | None = None) -> None:
        self._setups = [
            msgspec.structs.replace(
                setup, part=setup.part * count + index, parts=setup.parts * count
            )
            for index in range(count)
        ]
        command = python("-m", "loadtests.sender")
        self._command = command if core is None else pinned(core, command)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()
        # The first wrong answers of all orders, in words.
        self.wrong: Sequence[str] = ()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for setup in self._setups:
                process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                undo.callback(_stop, process)
                self._processes.append(process)
                _write(process, setup)
            # They make their questions at the same time.
            for process in self._processes:
                said = _line(process)
                assert said == READY, said
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(self, order: Order) -> list[Window]:
        """Have all carry out an order; what they have seen, as one. GeneratorFailed if one ends."""
        for process in self._processes:
            _write(process, order)
        seen: list[list[Window]] = []
        wrong: list[str] = []
        for process in self._processes:
            windows: list[Window] = []
            while not (line := _line(process)).startswith(_DONE):
                windows.append(decode_window(line))
            seen.append(windows)
            wrong += msgspec.json.decode(line, type=Done).wrong
        self.wrong = wrong
        return merged_windows(seen)


_DONE = msgspec.json.encode(Done(())).partition(b",")[0]


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise GeneratorFailed("a generator has ended early; its own words are above")
    return line.rstrip(b"\n")


def _write(process: subprocess.Popen[bytes], what: Setup | Order) -> None:
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(what, enc_hook=_plain) + b"\n")
    process.stdin.flush()


def _plain(value: object) -> object:
    if isinstance(value, MappingProxyType):
        return dict(value)
    # msgspec's way of saying that a type is none of ours.
    raise NotImplementedError(f"{type(value).__name__} does not belong in an order")


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    # A broken pipe means that it has ended, which is what is wanted.
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
