"""``Request-Timeout``: for how long a caller waits for its answer, in milliseconds."""

from __future__ import annotations

from aiohttp import web

from verifier.errors import BadRequest

HEADER = "Request-Timeout"

# A longer number is beyond any bound, and is not turned into one.
_MOST_DIGITS = 9


def timeout_of(request: web.BaseRequest, longest: float) -> float:
    """The seconds that a request names, at most ``longest``, which holds when it names none.

    Raises BadRequest for what is no whole number of milliseconds.
    """
    given = request.headers.getall(HEADER, None)
    if given is None:
        return longest
    text = ", ".join(given)
    if (
        not text.isascii()
        or not text.isdigit()
        or not 0 < len(text) <= _MOST_DIGITS
        or not int(text)
    ):
        raise BadRequest(
            "malformed_timeout",
            f"{HEADER}: expected milliseconds, a whole number of at least 1, got {text[:40]!r}",
        )
    return min(int(text) / 1_000, longest)
