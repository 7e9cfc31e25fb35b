"""Timelines: how far the servers of each cluster have come, as far as anybody has heard.

A failover begins a new timeline. A primary of a lower one than any server of its cluster has shown
was left behind: it is refused. Who has just started has heard of nobody yet, so that a primary is
believed only once all that might know better have been tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

# Of so many clusters the highest timeline is remembered; a DSN leads to a second one by mistake.
_CLUSTERS = 8


class Timelines:
    """The highest timeline of each cluster; of one event loop.

    ``witnesses`` name who must have been tried before a primary can be believed to be the newest:
    databases that are watched, hosts that are scouted.
    """

    def __init__(self, witnesses: Iterable[str] = ()) -> None:
        self._highest: dict[str, int] = {}
        self._unheard = set(witnesses)
        self._heard = asyncio.Event()
        if not self._unheard:
            self._heard.set()

    def witness(self, name: str) -> None:
        """A witness has been tried, whatever came of it."""
        self._unheard.discard(name)
        if not self._unheard:
            self._heard.set()

    async def heard(self) -> None:
        """Return when every witness has been tried."""
        await self._heard.wait()

    @property
    def complete(self) -> bool:
        """Whether every witness has been tried."""
        return self._heard.is_set()

    def noticed(self, cluster: str, timeline: int) -> None:
        """Some server of a cluster is on a timeline."""
        known = self.highest(cluster)
        if timeline <= known:
            return
        if not known and len(self._highest) >= _CLUSTERS:
            del self._highest[next(iter(self._highest))]
        self._highest[cluster] = timeline

    def highest(self, cluster: str) -> int:
        """The highest timeline that a server of a cluster has shown, 0 before the first."""
        return self._highest.get(cluster, 0)

    def outdated(self, cluster: str, timeline: int) -> bool:
        """Whether a primary on this timeline was left behind by a failover."""
        return timeline < self.highest(cluster)
