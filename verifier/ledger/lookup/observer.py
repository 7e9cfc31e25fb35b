"""Observer: the one connection to a database over which its state is asked and its log followed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import msgspec

from verifier.config import Databases
from verifier.database.connections import Role, open_reader
from verifier.ledger.lookup.history import History
from verifier.ledger.lookup.hosts import Contact, find
from verifier.ledger.lookup.probes import Probe, Prober, cluster_of


class Observer:
    """Watches one server at a time, of those that a DSN leads to.

    ``identity`` names the server and its start, ``host`` is its own DSN, ``secret`` the key that
    signs consistency tokens; each is empty before the first connection. ``previous`` is the last
    probe of this very server, None when another one was watched before.
    """

    def __init__(
        self, dsns: Sequence[str], role: Role, history: History, config: Databases
    ) -> None:
        self._dsns = dsns
        self._role = role
        self._history = history
        self._config = config
        self._contact: Contact | None = None
        self._prober: Prober
        self.identity = ""
        self.host = dsns[0]
        self.secret = b""
        self.previous: Probe | None = None
        # The last one of which the timeline was sure.
        self._certain: Probe | None = None

    @property
    def cluster(self) -> str:
        """The system identifier of the server's cluster."""
        return cluster_of(self.identity)

    async def connect(self) -> tuple[asyncpg.Connection, bool]:
        """The connection, and whether it is a new one. Raises what the database raises."""
        contact = self._contact
        if contact is not None and not contact.connection.is_closed():
            return contact.connection, False
        self._contact = contact = await find(
            self._dsns, self._role, self._open, self._config.connect_timeout, self._history
        )
        self.host = contact.dsn
        return contact.connection, True

    async def probe(self, now: float, *, anew: bool) -> Probe:
        """The server's state, asked ``now``; ``anew`` after a new connection.

        Raises what the database raises.
        """
        assert self._contact is not None
        async with asyncio.timeout(self._config.query_timeout):
            if anew:
                self._prober = await Prober.over(self._contact.connection)
                if self._prober.identity != self.identity:
                    self.previous = self._certain = None
                self.identity, self.secret = self._prober.identity, self._prober.secret
            probe = await self._prober.probe(now)
        previous = self.previous
        if previous is not None and probe.timeline < previous.timeline:
            # While it receives nothing, a standby tells which timeline it noted down last.
            probe = msgspec.structs.replace(probe, timeline=previous.timeline)
        self._history.saw(self.cluster, probe, self._certain)
        if probe.certain:
            self._certain = probe
        return probe

    def drop(self) -> None:
        """Terminate the connection: nobody knows what it would be in the middle of."""
        if self._contact is not None:
            self._contact.connection.terminate()
            self._contact = None

    async def _open(self, dsn: str) -> asyncpg.Connection:
        return await open_reader(dsn, self._config)
