"""Memory latency: both circles go through every object."""

from __future__ import annotations

from bench.latency import NODES, _chains


def test_both_ways_meet_every_object() -> None:
    """Otherwise one of them would stay in a core's own cache."""
    for first in _chains():
        met, node = {id(first)}, first[0]
        while node is not first:
            met.add(id(node))
            node = node[0]
        assert len(met) == NODES
