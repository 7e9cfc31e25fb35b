"""What ``/metrics`` shows."""

from __future__ import annotations

import os

from verifier.metrics.catalog import Metrics
from verifier.metrics.families import of_process, rendered


class Exposition:
    """What a process counts, and what it shows: of a process alone, that is the same."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    async def text(self) -> bytes:
        """The numbers of the service in the Prometheus text format.

        Raises Unavailable when they cannot be had; one's own are never shown for everybody's.
        """
        return self.metrics.render() + rendered(of_process(os.getpid()))
