"""A progress bar over the lines of a file: on stderr, and only on a terminal."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_INTERVAL = 0.1


class _Rate(ProgressColumn):
    """Lines per second since the start."""

    def render(self, task: Task) -> Text:
        rate = task.fields["lines"] / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:,.0f}/s")


class LineProgress:
    """Counts lines; the time left comes from the bytes read, for nobody has counted the lines.

    ``size`` is the file's size in bytes, None when it is not known.
    """

    def __init__(self, verb: str, size: int | None) -> None:
        self._console = console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[lines]:,} lines"),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(verb, total=size, lines=0)
        self._lines = 0
        self._size = 0.0
        self._shown = 0.0

    def advance(self, lines: int, size: float) -> None:
        """So many more lines, of so many bytes together, are done."""
        self._lines += lines
        self._size += size
        # The time left comes from the last thousand updates: they must not be one a line.
        if (now := monotonic()) - self._shown >= _INTERVAL:
            self._shown = now
            self._update()

    def _update(self) -> None:
        self._progress.update(self._task, completed=self._size, lines=self._lines)

    def say(self, text: str) -> None:
        """Show a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._update()
        self._progress.stop()
