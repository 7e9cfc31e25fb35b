"""What Locust's command line and its web page let one choose. Each message names its option.

The web page hands over what was typed, so that values are kept as text until a run begins.
"""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loadtests.scenario import Scenario, squeezed
from verifier.cli.credentials import KEY_HELP
from verifier.synthetic.questions import DEFAULT_MIX

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser

_FEWEST_ROWS = 1_000
# Below this a stage of a scenario would be over before it says anything.
_SHORTEST_SECONDS = 5
_LOWEST_FACTOR = 0.001


class BadOption(Exception):
    """A run cannot begin with what was chosen; the message names the option."""


class Choices(msgspec.Struct, frozen=True):
    """What was chosen for a run; None is the scenario's own, today, or a folder named after it."""

    rows: int
    ledger_seed: int
    until: date | None
    rate_factor: float
    mix: Mapping[str, int] | None
    duration: int | None
    report: Path | None


class _Option(NamedTuple):
    name: str
    default: str
    help: str
    # What the text says. ValueError tells what was expected in its place.
    read: Callable[[str], object]

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    def checked(self, text: str) -> str:
        """The text itself, for argparse, which puts the option's name before the message."""
        try:
            self.read(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None
        return text


def _rows(text: str) -> int:
    return _whole(text, _FEWEST_ROWS, "")


def _duration(text: str) -> int | None:
    return _whole(text, _SHORTEST_SECONDS, " of seconds") if text else None


def _whole(text: str, least: int, unit: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"expected a whole number{unit} of at least {least:,}, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a whole number, got {text!r}") from None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"expected a day like 2026-11-15, got {text!r}") from None


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not isfinite(factor) or factor < _LOWEST_FACTOR:
        raise ValueError(f"expected a number of at least {_LOWEST_FACTOR}, got {text!r}")
    return factor


def _mix(text: str) -> Mapping[str, int] | None:
    if not text:
        return None
    parts: dict[str, int] = {}
    for pair in text.split(","):
        verdict, _, count = pair.strip().partition("=")
        if verdict not in DEFAULT_MIX:
            raise ValueError(f"expected verdicts of {', '.join(DEFAULT_MIX)}, got {pair!r}")
        if not count.isascii() or not count.isdigit():
            raise ValueError(f"{verdict}: expected a whole number, got {count!r}")
        parts[verdict] = int(count)
    if not any(parts.values()):
        raise ValueError(f"expected parts that are not all 0, got {text!r}")
    return parts


def _folder(text: str) -> Path | None:
    return Path(text) if text else None


_OPTIONS = (
    _Option("rows", "200000", "Invoices in the synthetic ledger that the service holds.", _rows),
    _Option("ledger-seed", "1", "The seed of that ledger.", _seed),
    _Option("until", "", "The day on which that ledger was made; today if left out.", _day),
    _Option("rate-factor", "1.0", "Times the scenario's rates.", _factor),
    _Option(
        "mix",
        "",
        "Expected verdicts in parts, like match=90,not_found=10; the scenario's if left out.",
        _mix,
    ),
    _Option(
        "duration", "", "Seconds of all stages together; the scenario's if left out.", _duration
    ),
    _Option("report", "", "Folder to write; one in loadtests-results if left out.", _folder),
)


def add(parser: LocustArgumentParser) -> None:
    """Add all options to Locust's command line, and to its web page those that may be anybody's."""
    for option in _OPTIONS:
        parser.add_argument(
            f"--{option.name}",
            default=option.default,
            type=option.checked,
            help=option.help,
        )
    # Of the files of this machine, and its page is not the place of a secret.
    parser.add_argument("--key", metavar="FILE", help=KEY_HELP, include_in_web_ui=False)
    # It runs a command, which only who starts Locust may do.
    parser.add_argument(
        "--hook",
        action="append",
        metavar="NAME=COMMAND",
        type=_hook,
        help="What the scenario's hook does, e.g. failover=./promote.sh; repeatable.",
        include_in_web_ui=False,
    )


def choices(given: Namespace) -> Choices:
    """What was chosen, on the command line or in the web page. BadOption when it cannot be used."""
    read: dict[str, Any] = {}
    for option in _OPTIONS:
        try:
            read[option.field] = option.read(str(getattr(given, option.field)).strip())
        except ValueError as error:
            raise BadOption(f"--{option.name}: {error}") from None
    return Choices(**read)


def hooks(given: Namespace) -> Mapping[str, str]:
    """The commands that replace hooks, by name."""
    pairs: Sequence[str] = given.hook or ()
    return dict(_named(pair) for pair in pairs)


def chosen(scenario: Scenario, choices: Choices) -> Scenario:
    """The scenario with what was chosen. BadOption when that does not go with it."""
    if choices.mix is not None:
        scenario = msgspec.structs.replace(scenario, mix=choices.mix)
    if choices.duration is None:
        return scenario
    if scenario.steps is not None:
        raise BadOption(f"--duration: {scenario.name} finds its length by itself")
    return squeezed(scenario, choices.duration)


def _hook(text: str) -> str:
    name, command = _named(text)
    if not name or not command:
        raise ArgumentTypeError(f"expected NAME=COMMAND, got {text!r}")
    return text


def _named(pair: str) -> tuple[str, str]:
    name, _, command = pair.partition("=")
    return name.strip(), command
