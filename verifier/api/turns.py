"""Bulk takes turns: however many batches and streams run, others wait for one piece of one."""

from __future__ import annotations

from asyncio import Lock, sleep


class Turns:
    """Shared by all bulk work of a process; first come, first served."""

    def __init__(self) -> None:
        self._lock = Lock()

    async def next(self) -> None:
        """Return when it is one's turn, and the event loop has been through all other work.

        With a bare sleep(0) each of n batches would do a piece in every round of the loop, and a
        single question would wait for n pieces.
        """
        async with self._lock:
            await sleep(0)
