"""Choice: which database the next look-up goes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from verifier.errors import Unavailable
from verifier.ledger.lookup.dating import UNDATED
from verifier.ledger.lookup.gate import Grant
from verifier.ledger.lookup.targets import Target
from verifier.state import Position


def choose(
    primary: Target, replicas: Sequence[Target], oldest: float, avoid: Target | None
) -> Grant | None:
    """A channel of a replica whose state is recent enough; the one with the fewest queries.

    ``oldest`` is the oldest state that is (steady clock). A replica that was too far behind a
    moment ago serves only when no other one does: before the primary, which has few channels.
    Without a replica the primary serves; without the primary the replica with the newest state,
    and its readings say how old that is. None while all channels are taken; raises Unavailable
    when there is nothing to wait for.
    """
    for settling in (False, True):
        best: Target | None = None
        waits = False
        for target in replicas:
            if target.serving and target.settling is settling and target is not avoid:
                reading = target.reading
                if reading is not None and reading.is_fresh(oldest):
                    waits = waits or bool(target.free or target.busy)
                    if target.free and (best is None or len(target.busy) < len(best.busy)):
                        best = target
        if best is not None:
            return _granted(best)
        if waits:
            return None
    return _choose_other(primary, replicas, avoid)


def choose_at_least(
    targets: Iterable[Target], oldest: float, at_least: Position, avoid: Target | None
) -> Grant | None:
    """A channel of the first database that shows a position, in a state that is recent enough.

    None while there is none, or all their channels are taken.
    """
    for target in targets:
        reading = target.reading
        if (
            target.serving
            and target is not avoid
            and reading is not None
            and reading.is_fresh(oldest)
            and reading.shows(at_least)
            and (grant := _granted(target)) is not None
        ):
            return grant
    return None


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
    return _granted(
        max(others, key=lambda target: target.reading.as_of if target.reading else UNDATED)
    )


def _granted(target: Target) -> Grant | None:
    channel = target.take()
    return None if channel is None else (target, channel)
