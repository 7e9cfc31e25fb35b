"""The fitted model: ``capacity.json``, with what it was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from loadtests.capacity.costs import Costs
from loadtests.capacity.latency import Curve
from loadtests.capacity.usl import Law

FORMAT = 1
FILE = "capacity.json"
# Beyond so many times what was measured, whatever the model says is said to be extrapolated.
FAR = 2.0


class Kind(msgspec.Struct, frozen=True):
    """One kind of load: how its throughput (questions a second) and its p99 behave.

    ``hit`` is the share of look-ups that memory answered at its best stage, ``items`` the questions
    in a request. Without a ``curve`` there were too few stages that were held.
    """

    endpoint: str
    items: int
    hit: float
    law: Law
    curve: Curve | None

    @property
    def highest(self) -> float:
        """The highest rate that was measured, in questions a second."""
        return max(point.rate for point in self.law.points)


class Provenance(msgspec.Struct, frozen=True):
    """Which runs the model rests on, why others were left out, and on what they were made.

    ``replicas`` is how many the service had beside its primary, ``resident_bytes`` the most memory
    that one of its workers had, ``cores_each`` how much of a core.
    """

    runs: tuple[str, ...]
    left_out: Mapping[str, str]
    commits: tuple[str, ...]
    first: str
    last: str
    environment: Mapping[str, Any]
    replicas: int
    resident_bytes: int
    cores_each: float = 1.0


class Model(msgspec.Struct, frozen=True):
    """All that was fitted; ``notes`` say what the runs did not show."""

    kinds: Mapping[str, Kind]
    costs: Costs
    provenance: Provenance
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def of(self, endpoint: str) -> dict[str, Kind]:
        """The kinds of one endpoint, by name; the one with most hits first."""
        found = [(name, kind) for name, kind in self.kinds.items() if kind.endpoint == endpoint]
        return dict(sorted(found, key=lambda each: -each[1].hit))

    @property
    def most_workers(self) -> int:
        """Most workers that were measured."""
        return max(kind.law.most_workers for kind in self.kinds.values())


class BadModel(Exception):
    """A file holds no model; the message says what was expected."""


def write(model: Model, file: Path) -> None:
    """Write the model as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=0) + b"\n")


def read(file: Path) -> Model:
    """The model in a file. BadModel when it holds none of this format."""
    try:
        model = msgspec.json.decode(file.read_bytes(), type=Model)
    except OSError as error:
        raise BadModel(
            f"{file}: {error.strerror}; make one with capacity measure and fit"
        ) from error
    except msgspec.DecodeError as error:
        raise BadModel(f"{file}: {error}") from error
    if model.format != FORMAT:
        raise BadModel(f"{file}: expected format {FORMAT}, got {model.format}")
    return model


def far(what: str, wanted: float, measured: float) -> str | None:
    """A warning when what is wanted lies beyond FAR times what was measured."""
    if wanted <= FAR * measured:
        return None
    return (
        f"{what}: {wanted:,.6g} is {wanted / measured:,.1f} times the most that was measured "
        f"({measured:,.6g})"
    )
