"""Denials: who has no good key is told so where the bytes arrive, at less than an answer costs.

An address from which too many come is heard less: after each further denial its connection rests,
so that it asks no faster than it has connections. Who has a good key is not concerned, at whatever
address.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter

from verifier.access.callers import Caller
from verifier.api.server.addresses import Addresses
from verifier.api.server.respond import Responder
from verifier.api.server.route import AtOnce, Route
from verifier.config import Connections
from verifier.errors import BadRequest
from verifier.metrics import Metrics
from verifier.wire.messages import Language

# Addresses whose denials are counted, those of the last ones.
_ADDRESSES = 4_096

# Denials of one address that are told at once, and how many more a second.
AT_ONCE = 20
PER_SECOND = 5.0

# Seconds for which a connection is not heard after one too many.
REST = 1.0


class Denials:
    """The denials of one process; ``clock`` is the steady one."""

    def __init__(
        self,
        responder: Responder,
        metrics: Metrics,
        bounds: Connections,
        clock: Callable[[], float],
    ) -> None:
        self._responder = responder
        self._metrics = metrics
        self.clock = clock
        self._addresses = Addresses(bounds.trusted_proxies)
        # By address, the moment by which all its denials would have come at PER_SECOND.
        self._due: OrderedDict[bytes, float] = OrderedDict()

    def of(self, route: Route, error: BadRequest) -> AtOnce:
        """What denies a route's answer for the reason of an error; the same bytes as elsewhere."""
        outcome = self._metrics.requests.cell(route.name, "refused")
        count = self._metrics.http_errors.cell(route.name, error.code)
        # Until its head is forgotten it is the same but for the date.
        made: dict[Language, tuple[int, bytes]] = {}

        def at_once(
            _: bytes,
            __: Caller | None,
            language: Language,
            ___: Callable[[Callable[[], bytes]], object],
        ) -> bytes:
            started = perf_counter()
            count.count += 1
            second = self._responder.second()
            made_at, denied = made.get(language, (-1, b""))
            if made_at != second:
                denied = self._responder.refusal(error, language)
                made[language] = second, denied
            outcome.observe(perf_counter() - started)
            return denied

        return at_once

    def told(self, transport: asyncio.Transport) -> None:
        """A client was denied; one of too many rests."""
        address = self._addresses.key_of(transport.get_extra_info("peername"))
        if address is None:
            return
        now, due = self.clock(), self._due
        at = max(now, due.pop(address, now)) + 1.0 / PER_SECOND
        due[address] = min(at, now + (AT_ONCE + 1) / PER_SECOND)
        if len(due) > _ADDRESSES:
            due.popitem(last=False)
        if at > now + AT_ONCE / PER_SECOND:
            transport.pause_reading()
            asyncio.get_running_loop().call_later(REST, _hear, transport)


def _hear(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()
