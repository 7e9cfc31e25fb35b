"""How long to wait after attempts that failed in a row: longer each time, and never in step."""

from __future__ import annotations

# Far beyond any bound; a larger power would be no float.
_MOST_DOUBLINGS = 60


def backoff(failures: int, first: float, longest: float, random: float) -> float:
    """Seconds until the next attempt after so many failures, the first of which is number 1.

    They double from ``first`` to ``longest``. ``random`` in [0, 1) takes away up to a half, so that
    those who failed together do not come back together.
    """
    doubled = first * 2.0 ** min(max(0, failures - 1), _MOST_DOUBLINGS)
    return min(longest, doubled) * (0.5 + random / 2)
