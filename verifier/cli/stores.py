"""What the commands on tenants and keys share: the store, options, and how lists are shown."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import isnan
from pwd import getpwuid
from socket import gethostname
from typing import Annotated, TypeVar

import asyncpg
import typer

from verifier.access.keys import peppers_of
from verifier.access.rows import Limit
from verifier.access.store import Store, opened
from verifier.cli.settings import with_primary
from verifier.errors import Unavailable, VerifierError

T = TypeVar("T")

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)

# More than any service has to give.
_MOST = 1_000_000_000

Rate = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        min=0.001,
        max=_MOST,
        help="Units a second: a question is one, a batch of n n.",
    ),
]
Burst = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=_MOST,
        help="Units that may come at once; a larger batch has to wait for all of them. As many as "
        "the rate gives in 10 seconds, unless said.",
    ),
]

# Seconds of the rate that may come at once, unless it is said.
_BURST_SECONDS = 10


def with_store(act: Callable[[Store], Awaitable[T]], *, reads: bool = False) -> T:
    """What becomes of an act on the store of the primary that the environment names.

    One that only ``reads`` needs no pepper. Raises VerifierError.
    """
    config = with_primary()
    peppers = () if reads else peppers_of(config.access.key_peppers)

    async def run() -> T:
        async with opened(config, peppers, f"cli:{_user()}", gethostname()) as store:
            return await act(store)

    try:
        return asyncio.run(run())
    except Unavailable as error:
        if error.reason == "no_schema":
            said = "the primary has not the tables; expected `verifier migrate`"
        else:
            said = f"the primary cannot be used: {error.reason}"
        raise VerifierError(said) from error
    except asyncpg.PostgresError as error:
        raise VerifierError(f"the primary refuses that: {error}") from error


def _user() -> str:
    """Who runs this; a container's user may have no name."""
    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def limit_of(rate: float | None, burst: int | None) -> Limit | None:
    """The limit of two options, or none. BadParameter when there cannot be one."""
    if rate is None:
        if burst is not None:
            raise typer.BadParameter("expected --rate too", param_hint="--burst")
        return None
    if isnan(rate):
        # Which no bound keeps out.
        raise typer.BadParameter("expected a number", param_hint="--rate")
    return Limit(rate, burst if burst is not None else max(1, round(rate * _BURST_SECONDS)))


def duration(text: str) -> timedelta:
    """``90d``, ``12h``, ``30m`` or ``5s``. BadParameter for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"expected a time like 90d, 12h, 30m or 5s, got {text!r}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their heads, in columns."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    )
    return "\n".join(lines)


def moment(at: datetime | None) -> str:
    """A moment to the minute, in UTC; a dash for none."""
    return "-" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def limit_text(limit: Limit | None) -> str:
    """A limit, as lists show it."""
    return "-" if limit is None else f"{limit.rate:g}/s, {limit.burst:,} at once"
