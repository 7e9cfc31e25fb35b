"""What ``/metrics`` shows."""

from __future__ import annotations

import os
from asyncio import sleep
from time import perf_counter

from verifier.metrics.catalog import Metrics
from verifier.metrics.families import of_process, rendered, taken

# The longest that making the text keeps others waiting, in seconds.
_PIECE = 0.0005


class Exposition:
    """What a process counts, and what it shows: of a process alone, that is the same."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    async def text(self) -> bytes:
        """The numbers of the service in the Prometheus text format.

        Raises Unavailable when they cannot be had; one's own are never shown for everybody's.
        """
        # All of one moment. The text takes 2 ms to make, so questions have their turn in between.
        families = [*taken(self.metrics.registry), *of_process(os.getpid())]
        parts: list[bytes] = []
        await sleep(0)
        begun = perf_counter()
        for family in families:
            parts.append(rendered([family]))
            if perf_counter() - begun > _PIECE:
                await sleep(0)
                begun = perf_counter()
        return b"".join(parts)
