"""Tests of what a server says of itself."""

from __future__ import annotations

import pytest

from tests.support import Database, connected
from verifier.database.servers import cluster_of, identity_of, state_of


@pytest.mark.parametrize(("identity", "cluster"), [("7 1764.5", "7"), ("", "")])
def test_cluster_is_the_part_that_replicas_share(identity: str, cluster: str) -> None:
    """The identity of a server begins with that of its cluster."""
    assert cluster_of(identity) == cluster


async def test_a_primary_and_its_replicas_say_which_they_are(ledger: Database) -> None:
    """They share cluster and timeline, and each says whether it is a standby."""
    identities = set()
    for dsn, standby in ((ledger.primary_dsn, False), (ledger.replica_dsns[0], True)):
        async with connected(dsn) as connection:
            identity = await identity_of(connection)
            assert await state_of(connection) == (cluster_of(identity), standby, 1)
            identities.add(identity)
    assert len(identities) == 2
    assert len(set(map(cluster_of, identities))) == 1
