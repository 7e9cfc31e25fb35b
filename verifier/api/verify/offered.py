"""Offered load: how many questions were asked, whether or not they were taken in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from verifier.errors import Unavailable
from verifier.metrics import Metrics

# About what a question of many takes, for those that nobody has read.
_BYTES_EACH = 100


class Offered:
    """Counts what is offered to one endpoint, and what of it is refused for want of room or time.

    What is served alone tells nothing of an overload: it stays what a worker can do.
    """

    def __init__(self, metrics: Metrics, endpoint: str) -> None:
        self._offered = metrics.offered.cell(endpoint)
        self._refused = metrics.refused.cell(endpoint)

    def take_in(self, questions: int = 1) -> None:
        """Count questions that are taken in."""
        self._offered.count += questions

    def refuse(self, questions: int = 1) -> None:
        """Count questions that are refused."""
        self._offered.count += questions
        self._refused.count += questions

    @contextmanager
    def unless_refused(self, request: web.BaseRequest) -> Iterator[None]:
        """Count a request of many questions as refused if the block raises Unavailable."""
        try:
            yield
        except Unavailable:
            self.refuse(max(1, (request.content_length or 0) // _BYTES_EACH))
            raise
