"""Rounds of the event loop: each comes to its end, however many clients ask again within it.

libuv takes 1,024 events from the system at a time, and as long as it gets so many, takes more, up
to 48 times, before it runs anything else: timers, tasks, what databases have said. Clients that
have their answer at once ask again at once. So a thousand of them have a round go on for most of a
second, in which reads and probes of databases time out that were answered long ago, memory becomes
stale, and nothing can be answered any more. So in a round that goes on for long, whoever has been
answered rests, and some of those who rest are heard again in each round, in their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

# Answers at once, in one round or several, after which the end of the round is looked for, and
# those after which, if it has not come, who is answered rests: fewer than libuv takes at a time.
LOOK, LONG = 256, 768

# Clients that are heard again in each round: for some 5 ms.
_HEARD = 256


class Rounds:
    """Those who rest; one per event loop.

    ``answered`` counts answers at once since the end of a round that was looked for, from ``LONG``
    on while there are any who rest. Whoever gives one counts it, looks for the end at ``LOOK`` of
    them, and has the client rest from ``LONG`` on. ``waited`` is told for how long (seconds of the
    ``clock``) clients rested who are heard again.
    """

    def __init__(self, clock: Callable[[], float], waited: Callable[[float], object]) -> None:
        self._clock = clock
        self._waited = waited
        self._is_ending = False
        # Each with the moment since when it rests.
        self._resting: deque[tuple[asyncio.Transport, float]] = deque()
        self.answered = 0

    def rest(self, transport: asyncio.Transport) -> None:
        """Have a client that was answered rest."""
        if not transport.is_closing():
            transport.pause_reading()
            self._resting.append((transport, self._clock()))

    def look_for_end(self) -> None:
        """Note when this round is over."""
        if not self._is_ending:
            self._is_ending = True
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._is_ending = False
        self.answered = 0
        resting = self._resting
        if not resting:
            return
        self._waited(self._clock() - resting[0][1])
        try:
            for _ in range(min(_HEARD, len(resting))):
                transport, _since = resting.popleft()
                if not transport.is_closing():
                    transport.resume_reading()
        finally:
            if resting:
                # Whoever is answered takes a place behind them.
                self.answered = LONG
                self.look_for_end()
