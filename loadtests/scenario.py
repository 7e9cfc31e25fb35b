"""What a scenario is made of. It is written once, in scenarios/, for Locust and for our generator.

Rates are *requests* a second at ``--rate 1.0`` of the scenario; a run may scale them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec

from verifier.synthetic.questions import DEFAULT_MIX, DEFAULT_ZIPF

# ``changed`` are single questions about invoices whose state ``change`` is changing; ``feed``
# brings new invoices, ``items`` lines in each request.
Endpoint = Literal["single", "batch", "stream", "changed", "change", "feed"]
Arrivals = Literal["poisson", "constant"]

# Those that write to the ledger.
WRITES: frozenset[Endpoint] = frozenset({"change", "feed"})

PATHS: Mapping[Endpoint, str] = MappingProxyType(
    {
        "single": "/v1/verify",
        "batch": "/v1/verify/batch",
        "stream": "/v1/verify/stream",
        "changed": "/v1/verify",
        "change": "/v1/ledger/status",
        "feed": "/v1/ledger/invoices",
    }
)

FOLDER = Path(__file__).parent / "scenarios"


class Traffic(msgspec.Struct, frozen=True):
    """One class of requests: ``parts`` of all requests, ``items`` questions in each.

    ``within`` is the seconds in which an answer is good (goodput), from the intended moment.
    """

    name: str
    endpoint: Endpoint
    parts: float
    items: int = 1
    within: float = 1.0


class Stage(msgspec.Struct, frozen=True):
    """``seconds`` of load, at ``rate`` or going from ``rate_at_begin`` to it in a straight line.

    ``parts`` replace those of the scenario's traffic, by class; one that is left out sends none.
    """

    name: str
    seconds: int
    rate: float
    rate_at_begin: float | None = None
    warm_up: bool = False
    parts: Mapping[str, float] | None = None

    @property
    def begin_rate(self) -> float:
        """Requests a second at the beginning."""
        return self.rate if self.rate_at_begin is None else self.rate_at_begin


class Steps(msgspec.Struct, frozen=True):
    """Steps up to the knee; then between the last one that was held and the first that was not.

    A step is held when no answer was wrong, at least ``goodput`` (0 to 1) of its questions were
    answered well, and in its second half by itself too: a queue that grows is not held. It ends
    when both ends are within ``precision`` of each other, or at ``most`` steps. Then come stages at
    ``beyond`` times the knee, which show what happens past saturation, and below it.
    """

    first: float
    factor: float = 1.5
    precision: float = 0.05
    seconds: int = 8
    goodput: float = 0.98
    most: int = 20
    beyond: Sequence[float] = ()


class Hook(msgspec.Struct, frozen=True):
    """What is done to the service ``at`` a second of the run: ``name`` is one of hooks.py.

    A run may give a command of its own in its place.
    """

    name: str
    at: float


class Scenario(msgspec.Struct, frozen=True):
    """A load: who asks what (``traffic``, ``mix``, ``zipf``), and when (``stages`` or ``steps``).

    ``distinct`` is how many different questions are asked before they repeat. ``pick`` says about
    which invoices: ``popular`` by ``zipf``, ``one`` is the same for everybody, ``invented`` are
    numbers in a row as somebody tries them who guesses. ``p99`` is the latency budget (seconds) by
    class, for the headline and the budget's line; a class that is left out has none.
    """

    name: str
    summary: str
    traffic: Sequence[Traffic]
    stages: Sequence[Stage] = ()
    steps: Steps | None = None
    arrivals: Arrivals = "poisson"
    mix: Mapping[str, int] = DEFAULT_MIX
    zipf: Decimal = DEFAULT_ZIPF
    pick: Literal["popular", "one", "invented"] = "popular"
    distinct: int = 50_000
    p99: Mapping[str, float] = MappingProxyType({})
    hooks: Sequence[Hook] = ()
    # Of a service that the run brings up itself: settings beside the defaults.
    settings: Mapping[str, str] = MappingProxyType({})


class NoScenario(Exception):
    """There is no such scenario; the message names those that there are."""


def names() -> list[str]:
    """Every scenario that there is."""
    return sorted(file.stem for file in FOLDER.glob("[a-z]*.py"))


def load(name: str) -> Scenario:
    """A scenario by its name. NoScenario when there is none of it."""
    if name not in names():
        raise NoScenario(f"{name!r}: expected one of {', '.join(names())}")
    found = import_module(f"loadtests.scenarios.{name}").SCENARIO
    assert isinstance(found, Scenario)
    return found


def squeezed(scenario: Scenario, seconds: int) -> Scenario:
    """The same in so many seconds: stages (each at least one), and hooks at their moments."""
    share = seconds / sum(stage.seconds for stage in scenario.stages)
    replace = msgspec.structs.replace
    return replace(
        scenario,
        stages=[
            replace(stage, seconds=max(1, round(stage.seconds * share)))
            for stage in scenario.stages
        ],
        hooks=[replace(hook, at=hook.at * share) for hook in scenario.hooks],
    )


def under_locust() -> bool:
    """Whether Locust has loaded the file: it replaces Python's sockets, which ours must keep."""
    return "locust" in sys.modules
