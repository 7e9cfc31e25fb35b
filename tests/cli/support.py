"""What the tests of the command line share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path


class Journal:
    """What fake workers noted: ``event pid`` a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pids(self, event: str) -> list[int]:
        """The processes that noted the event, in order."""
        if not self.path.exists():
            return []
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return [int(pid) for noted, pid in lines if noted == event]


async def until(condition: Callable[[], object], within: float = 10.0) -> None:
    """Return when the condition holds; TimeoutError after so many seconds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


def runs(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
