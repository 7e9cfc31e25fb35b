"""Clients told apart by their addresses, where one must not have all connections."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

# Clients on this machine, such as a balancer that stands for all others.
LOOPBACK = ("127.0.0.0/8", "::1/128")

# Of an IPv6 address, what a network gives to one client, who chooses the rest (RFC 4291, 2.5.1).
_PREFIX = 8  # bytes


class Addresses:
    """Which connections are counted together.

    ``trusted`` are addresses and networks (CIDR) whose connections are not; nor are those of this
    machine.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._exempt = [ip_network(each) for each in (*LOOPBACK, *trusted)]

    def key_of(self, peer: object) -> bytes | None:
        """What a peer's connections are counted under: an IPv4 address, or the /64 of an IPv6 one.

        ``peer`` is what the socket says of the other side. None for those that are not counted, and
        for one that has left already.
        """
        if not isinstance(peer, tuple):
            return None
        address = ip_address(peer[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            # As a socket for both kinds of addresses shows it.
            address = address.ipv4_mapped
        if any(address in network for network in self._exempt):
            return None
        return address.packed[:_PREFIX]
