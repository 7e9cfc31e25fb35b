"""Peers give the same answers before they are timed: status, verdict and all that goes with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bench.client import ask_all, post
from loadtests.processes import RigError, Server
from verifier.invoice.verdict import SHANGHAI

# Differ from one answer to the next, or say where an answer came from and not what it is.
_OWN = frozenset({"id", "freshness", "retry_after", "detail"})


def essence(status: int, body: bytes) -> dict[str, Any]:
    """What two answers to one question must have in common."""
    members = msgspec.json.decode(body)
    return {"http": status} | {name: value for name, value in members.items() if name not in _OWN}


# Whoever asks about an invoice so young may be told to wait.
_YOUNG_DAYS = 30
_COMPARED = ("total", "amount", "check_code")


def canonical(bodies: Sequence[bytes]) -> list[bytes]:
    """Minimal questions, every tenth with another amount, and as many about what is not there.

    For a peer that reads nothing else.
    """
    young = (datetime.now(SHANGHAI).date() - timedelta(days=_YOUNG_DAYS)).isoformat()
    asked = list(bodies)
    for body in bodies[::10]:
        question = msgspec.json.decode(body)
        if question["date"] > young:
            continue
        name = next(name for name in _COMPARED if name in question)
        spoilt = question[name][:-1] + ("1" if question[name][-1] != "1" else "2")
        number = question["number"]
        absent = number[:-4] + f"{(int(number[-4:]) + 5_000) % 10_000:04}"
        asked += [
            msgspec.json.encode({**question, name: spoilt}),
            msgspec.json.encode({**question, "number": absent}),
        ]
    return asked


def check(servers: Mapping[str, Server], bodies: Sequence[bytes]) -> Counter[str]:
    """Ask each server all questions; how many answers there are of each verdict.

    RigError names the first question that two servers answer differently.
    """
    requests = [post("/v1/verify", body) for body in bodies]
    first, *others = servers.items()
    wanted = [essence(*answer) for answer in ask_all(first[1].address, requests)]
    for name, server in others:
        for body, expected, answer in zip(
            bodies, wanted, ask_all(server.address, requests), strict=True
        ):
            given = essence(*answer)
            if given != expected:
                raise RigError(f"{name} and {first[0]} differ on {body!r}:\n{given}\n{expected}")
    return Counter(answer["verdict"] for answer in wanted)
