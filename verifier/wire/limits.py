"""The header fields that say how much may be asked (draft-ietf-httpapi-ratelimit-headers-11).

``RateLimit-Policy`` says what the limits are and ``RateLimit`` what is left of them: two lists of
quoted names with integers (RFC 9651). A bucket of b units that gets r a second is stated as a quota
of b in a window of b / r seconds, rounded up: who keeps to that is never refused.

The unit is a question, and a batch is as many. The registry of units has none like it, and no other
is allowed, so ``qu`` is left out: by default the quota counts requests, and how much of it a
request takes is for the service to say. Neither field has ``pk``: one key is all that a client
knows of.
"""

from __future__ import annotations

from math import ceil
from typing import Literal

import msgspec

POLICY_HEADER = "RateLimit-Policy"
LIMIT_HEADER = "RateLimit"

# What RFC 9651 allows an integer to be.
_MOST = 10**15 - 1

# Which limit: that of one key, or of all keys of a tenant together.
Name = Literal["key", "tenant"]


class Policy(msgspec.Struct, frozen=True, gc=False):
    """A limit as clients are told of it: ``units`` a second, ``burst`` units at once."""

    name: Name
    units: float
    burst: int


class Left(msgspec.Struct, frozen=True, gc=False):
    """What is left of a limit: ``remaining`` units for the next ``seconds``.

    For what is admitted these are the seconds until all is there again; for what is refused those
    until it would be admitted, so that ``retry_after`` of the same need not be later.
    """

    name: Name
    remaining: int
    seconds: float


def policy_field(*policies: Policy) -> str:
    """The value of ``RateLimit-Policy``; it stays the same as long as the limits do."""
    return ", ".join(
        f'"{policy.name}";q={max(1, _integer(policy.burst))}'
        f";w={max(1, _integer(ceil(policy.burst / policy.units)))}"
        for policy in policies
    )


def limit_field(*limits: Left) -> str:
    """The value of ``RateLimit``."""
    return ", ".join(
        f'"{left.name}";r={_integer(left.remaining)};t={_integer(ceil(left.seconds))}'
        for left in limits
    )


def retry_after(seconds: float) -> int:
    """The value of ``Retry-After`` for a wait: whole seconds, not before it and one at least."""
    return max(1, _integer(ceil(seconds)))


def _integer(value: int) -> int:
    """The nearest that may be said: not negative, and of 15 digits at most."""
    return max(0, min(value, _MOST))
