"""Memory latency: what a neighbour who fills the shared cache does to everything here.

A cached invoice is a handful of objects anywhere in memory, so the figures move with this one,
while a codec alone hardly does.
"""

from __future__ import annotations

import random
from functools import cache
from time import perf_counter
from typing import Any

# Some 30 MB: far more than a core's own cache, about what a whole processor shares.
NODES = 400_000

_Chain = list[Any]


@cache
def _chains() -> tuple[_Chain, _Chain]:
    """The first nodes of two circles through the same kind of objects: in order, and shuffled."""
    return _circle(range(NODES)), _circle(random.Random(1).sample(range(NODES), NODES))


def _circle(order: range | list[int]) -> _Chain:
    nodes: list[_Chain] = [[None] for _ in range(NODES)]
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        nodes[here][0] = nodes[there]
    return nodes[0]


def memory_latency() -> float:
    """Nanoseconds by which going to an object at a random place exceeds going to the next one."""
    in_order, shuffled = (_walk(first) for first in _chains())
    return (shuffled - in_order) / NODES * 1e9


def _walk(node: _Chain) -> float:
    begin = perf_counter()
    for _ in range(NODES):
        node = node[0]
    return perf_counter() - begin
