"""Hosts: a DSN may name several, and each is tried by itself.

One that does not answer costs the others nothing: all are tried side by side, each within its own
bound, and the best of those that answer is kept. PostgreSQL's own clients try them in turns, which
takes as long as the silent ones are allowed to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import asyncpg
import msgspec

from verifier.database.connections import Role, or_terminated
from verifier.database.servers import state_of
from verifier.database.timelines import Timelines
from verifier.errors import ConfigError


class Contact(msgspec.Struct, frozen=True):
    """A connection to one host, that host's DSN, and what its server said of itself."""

    dsn: str
    connection: asyncpg.Connection
    cluster: str
    in_recovery: bool
    timeline: int


def single_hosts(dsn: str) -> list[str]:
    """A DSN for each host that a DSN names, in their order; ConfigError when it is malformed."""
    url = urlsplit(dsn)
    query = parse_qsl(url.query, keep_blank_values=True)
    asked = dict(query)
    if "," in asked.get("host", ""):
        hosts, ports = asked["host"].split(","), asked.get("port", "").split(",")
        if len(ports) not in (1, len(hosts)):
            raise ConfigError(
                f"a DSN with {len(hosts)} hosts and {len(ports)} ports; expected one port, or as "
                "many as hosts"
            )
        ports = ports * len(hosts) if len(ports) == 1 else ports
        rest = [(name, value) for name, value in query if name not in ("host", "port")]
        return [
            _unsplit(url._replace(query=urlencode([*rest, *place], quote_via=quote)))
            for place in (
                [("host", host), *([("port", port)] if port else [])]
                for host, port in zip(hosts, ports, strict=True)
            )
        ]
    user, at, hosts_of_url = url.netloc.rpartition("@")
    if "," not in hosts_of_url:
        return [dsn]
    return [_unsplit(url._replace(netloc=f"{user}{at}{host}")) for host in hosts_of_url.split(",")]


def _unsplit(url: SplitResult) -> str:
    # urlunsplit leaves out the slashes of an empty host.
    return f"{url.scheme}://{url.netloc}{url.path}" + (f"?{url.query}" if url.query else "")


async def find(
    dsns: Sequence[str],
    role: Role,
    connect: Callable[[str], Awaitable[asyncpg.Connection]],
    seconds: float,
    timelines: Timelines,
) -> Contact:
    """The server of a role among hosts: of several primaries that of the highest timeline.

    When there is none, another server, so that the caller sees what it is. Each host has so many
    seconds. Raises what the last one raised when none answers.
    """

    async def reach(dsn: str) -> Contact:
        async with asyncio.timeout(seconds):
            connection = await connect(dsn)
            with or_terminated(connection):
                return Contact(dsn, connection, *await state_of(connection))

    def fits(found: Contact) -> bool:
        return found.in_recovery is (role == "replica")

    def enough(found: Contact) -> bool:
        # A primary that was left behind answers as fast as the one that took over.
        newest = timelines.highest(found.cluster) if timelines.complete else 0
        return fits(found) and (role == "replica" or 0 < newest <= found.timeline)

    trying = {asyncio.ensure_future(reach(dsn)) for dsn in dsns}
    kept: list[Contact] = []
    failed: BaseException | None = None
    try:
        while trying and not any(map(enough, kept)):
            done, trying = await asyncio.wait(trying, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                failed = task.exception() or failed
                if task.exception() is None:
                    kept.append(task.result())
        if not kept:
            assert failed is not None
            raise failed
        best = max(kept, key=lambda found: (fits(found), found.timeline))
        kept.remove(best)
        return best
    finally:
        for task in trying:
            task.add_done_callback(_end)
            task.cancel()
        for found in kept:
            found.connection.terminate()


def _end(attempt: asyncio.Future[Contact]) -> None:
    """Drop the connection that an attempt may still have made for which nobody waits any more."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().connection.terminate()
