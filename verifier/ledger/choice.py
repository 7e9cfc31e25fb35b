"""Choice: which database the next look-up goes to."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.errors import Unavailable
from verifier.ledger.gate import Grant
from verifier.ledger.targets import Target


def choose(
    primary: Target, replicas: Sequence[Target], oldest: float, avoid: Target | None
) -> Grant | None:
    """A channel of a replica whose state is recent enough; the one with the fewest queries.

    ``oldest`` is the oldest state that is (seconds since the epoch). A replica that was too far
    behind a moment ago serves only when no other one does: before the primary, which has few
    channels. Without a replica the primary serves; without the primary the replica with the newest
    state, and its readings say how old that is. None while all channels are taken; raises
    Unavailable when there is nothing to wait for.
    """
    for settling in (False, True):
        best: Target | None = None
        waits = False
        for target in replicas:
            if target.serving and target.settling is settling and target is not avoid:
                reading = target.reading
                if reading is not None and reading.as_of >= oldest:
                    waits = True
                    if target.free and (best is None or len(target.busy) < len(best.busy)):
                        best = target
        if best is not None:
            return _granted(best)
        if waits:
            return None
    return _choose_other(primary, replicas, avoid)


def choose_primary(primary: Target) -> Grant | None:
    """A channel of the primary, None while all are taken. Raises Unavailable."""
    if not primary.serving:
        raise Unavailable("no_primary")
    return _granted(primary)


def _choose_other(
    primary: Target, replicas: Sequence[Target], avoid: Target | None
) -> Grant | None:
    others = [primary] if primary.serving else []
    if not others or avoid is primary:
        others = [target for target in replicas if target.serving] or others
    # With a single database, another channel of it is the only other way.
    others = [target for target in others if target is not avoid] or others
    if not others:
        raise Unavailable("no_database")
    return _granted(max(others, key=lambda target: target.reading.as_of if target.reading else 0.0))


def _granted(target: Target) -> Grant | None:
    channel = target.take()
    return None if channel is None else (target, channel)
