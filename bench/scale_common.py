"""What the programs of docs/scale.md share: turns, spreads, tables, and CPU by process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

import asyncpg
import msgspec

from bench.client import ask_all
from bench.load import counted
from loadtests.generator.connections import Address
from loadtests.processes import RigError

Sample = dict[str, float]

T = TypeVar("T")

_METRICS = b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n"


class Section(msgspec.Struct):
    """One table of docs/scale.md, and all that it was made of."""

    title: str
    rows: list[list[str]]  # the first one is the head
    note: str
    samples: dict[str, list[Sample]]

    def markdown(self) -> str:
        """The table with its note."""
        head, *body = self.rows
        lines = [head, ["---"] * len(head), *body]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{table}\n\n{self.note}\n" if self.note else f"{table}\n"


def turns(measures: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Take all measurements in turns; every other round the other way round, against drift.

    Every round has a sample of each. RigError when one does not count again and again.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in measures}
    for number in range(rounds):
        for name in measures if number % 2 == 0 else reversed(list(measures)):
            sample = must_count(name, measures[name])
            samples[name].append(sample)
            told = ", ".join(f"{key} {value:,.4g}" for key, value in sample.items())
            print(f"  {number + 1}/{rounds} {name}: {told}", flush=True)
    return samples


def must_count(name: str, measure: Callable[[], T]) -> T:
    """One measurement that counts; RigError when none did."""
    sample = counted(name, measure)
    if sample is None:
        raise RigError(f"{name}: no run counted")
    return sample


def values(samples: Iterable[Sample], key: str) -> list[float]:
    """One quantity of all rounds."""
    return [sample[key] for sample in samples]


def ratios(over: Sequence[Sample], under: Sequence[Sample], key: str) -> list[float]:
    """One quantity of a measurement ÷ that of another, round by round."""
    return [a[key] / b[key] for a, b in zip(over, under, strict=True)]


def digits(value: float) -> str:
    """Three digits that mean something."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def spread(numbers: Sequence[float], show: Callable[[float], str] = digits) -> str:
    """Median, and from where to where the rounds went."""
    return f"{show(median(numbers))} ({show(min(numbers))} … {show(max(numbers))})"


def percent(value: float) -> str:
    """A share with one decimal."""
    return f"{value * 100:.1f} %"


# Processes


def on_core(pid: int) -> float:
    """Seconds that a process of one thread has spent on a core, to the nanosecond.

    Short polls would be lost in the ticks of /proc/PID/stat. RigError when it has ended.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError as error:
        raise RigError(f"process {pid} has ended") from error


def on_cores(pids: Iterable[int]) -> float:
    """The same of all of them."""
    return sum(map(on_core, pids))


def threads_on_core(pid: int) -> float:
    """The same of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(each) for task in tasks for each in (task / "children").read_text().split()]


def server_processes(dsn: str) -> dict[str, list[int]]:
    """Processes of a PostgreSQL server by type, without the one that answers this question."""

    async def work() -> dict[str, list[int]]:
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch(
                "SELECT backend_type, pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        finally:
            await connection.close()
        found: dict[str, list[int]] = {}
        for kind, pid in rows:
            found.setdefault(kind, []).append(pid)
        return found

    with asyncio.Runner() as runner:
        return runner.run(work())


def metrics(address: Address) -> dict[str, float]:
    """What a worker exports, by name with labels."""
    _, body = ask_all(address, [_METRICS])[0]
    lines = (line.rpartition(" ") for line in body.decode().splitlines() if line[:1] != "#")
    return {name: float(value) for name, _, value in lines}
