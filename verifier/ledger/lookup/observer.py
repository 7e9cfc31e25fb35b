"""Observer: the one connection to a database over which its state is asked and its log followed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import msgspec

from verifier.config import Databases
from verifier.database.connections import Role, open_reader
from verifier.database.hosts import Contact, find
from verifier.database.servers import cluster_of
from verifier.ledger.lookup.dating import UNDATED, Dating
from verifier.ledger.lookup.probes import Probe, Prober


class Sight(msgspec.Struct, frozen=True):
    """A server's state at one probe: ``as_of`` (steady clock) it shows the ledger at least.

    ``anew`` says that what was found before holds no more: another connection, which may lead to
    another server, or one that has lost ground. ``measured`` says that the primary's position was
    known by then: without it nothing is known of a replica's lag.
    """

    probe: Probe
    as_of: float
    anew: bool
    measured: bool


class Observer:
    """Watches one server at a time, of those that the DSNs of a database lead to.

    ``name`` is the database's, as a witness of the timelines. ``identity`` names the server and its
    start, ``secret`` is the key that signs consistency tokens; each is empty before the first
    connection.
    """

    def __init__(
        self, name: str, dsns: Sequence[str], role: Role, dating: Dating, config: Databases
    ) -> None:
        self._name = name
        self._dsns = dsns
        self._role: Role = role
        self._dating = dating
        self._config = config
        self._contact: Contact | None = None
        self._prober: Prober
        self._host = dsns[0]
        self.identity = ""
        self.secret = b""
        # What this very server showed last; None when another one was watched before.
        self._previous: Sight | None = None
        # The last probe of it of which the timeline was sure.
        self._certain: Probe | None = None

    async def look(self, now: float) -> Sight:
        """Probe the server ``now`` (steady clock), over a new connection if there is none.

        Raises what the database raises, and Unfit when the server has not the role.
        """
        try:
            fresh = await self._connect()
            probe = await self._probe(now, fresh=fresh)
        finally:
            self._dating.timelines.witness(self._name)
        previous = self._previous
        lost_ground = previous is None or previous.probe.lsn > probe.lsn
        known = UNDATED if previous is None or lost_ground else previous.as_of
        cluster = cluster_of(self.identity)
        if self._role == "primary":
            # A replica may know of a failover that has left this server behind.
            await self._dating.timelines.heard()
            as_of = self._dating.primary(cluster, probe)
        else:
            as_of = self._dating.replica(cluster, probe, known)
        measured = self._dating.newest is not None
        self._previous = sight = Sight(probe, as_of, fresh or lost_ground, measured)
        return sight

    @property
    def connection(self) -> asyncpg.Connection:
        """The connection over which the last look was."""
        assert self._contact is not None
        return self._contact.connection

    async def another(self) -> asyncpg.Connection:
        """One more connection to the host that is watched. Raises what the database raises."""
        return await open_reader(self._host, self._config)

    def drop(self) -> None:
        """Terminate the connection: nobody knows what it would be in the middle of."""
        if self._contact is not None:
            self._contact.connection.terminate()
            self._contact = None

    async def _connect(self) -> bool:
        """Have a connection; whether it is a new one."""
        if self._contact is not None and not self._contact.connection.is_closed():
            return False
        seconds, timelines = self._config.connect_timeout, self._dating.timelines
        self._contact = await find(self._dsns, self._role, self._open, seconds, timelines)
        self._host = self._contact.dsn
        return True

    async def _probe(self, now: float, *, fresh: bool) -> Probe:
        async with asyncio.timeout(self._config.query_timeout):
            if fresh:
                self._prober = await Prober.over(self.connection)
                if self._prober.identity != self.identity:
                    self._previous = self._certain = None
                self.identity, self.secret = self._prober.identity, self._prober.secret
            probe = await self._prober.probe(now)
        if self._previous is not None and probe.timeline < self._previous.probe.timeline:
            # While it receives nothing, a standby tells which timeline it noted down last.
            probe = msgspec.structs.replace(probe, timeline=self._previous.probe.timeline)
        self._dating.saw(cluster_of(self.identity), probe, self._certain)
        if probe.certain:
            self._certain = probe
        return probe

    async def _open(self, dsn: str) -> asyncpg.Connection:
        return await open_reader(dsn, self._config)
