"""What Locust's command line and web page let one choose."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from datetime import date
from pathlib import Path

import pytest

from loadtests.locust_users import options
from loadtests.locust_users.options import BadOption, Choices
from loadtests.scenario import Hook, Scenario, Stage, Steps, Traffic

STAGED = Scenario(
    "test",
    "a stage",
    [Traffic("single", "single", 1)],
    stages=[Stage("all", 60, 100)],
    hooks=[Hook("failover", at=30)],
)


def chosen(**typed: str) -> Choices:
    """What was typed for some options, and the defaults of the others."""
    defaults = {option.field: option.default for option in options._OPTIONS}
    return options.choices(Namespace(**(defaults | typed)))


def test_nothing_has_to_be_chosen() -> None:
    """Without options it is the scenario's own load, on a ledger that was made today."""
    assert chosen() == Choices(200_000, 1, None, 1.0, None, None, None)


def test_everything_can_be_chosen() -> None:
    """Each option is read from what was typed."""
    assert chosen(
        rows="20000",
        ledger_seed="7",
        until="2026-11-15",
        rate_factor="0.25",
        mix="match=90, not_found=10",
        duration=" 30 ",
        report="reports/one",
    ) == Choices(
        20_000,
        7,
        date(2026, 11, 15),
        0.25,
        {"match": 90, "not_found": 10},
        30,
        Path("reports/one"),
    )


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("rows", "many", "--rows: expected a whole number of at least 1,000, got 'many'"),
        ("rows", "999", "--rows: expected a whole number of at least 1,000, got '999'"),
        ("ledger_seed", "1.5", "--ledger-seed: expected a whole number, got '1.5'"),
        ("until", "yesterday", "--until: expected a day like 2026-11-15, got 'yesterday'"),
        ("rate_factor", "0", "--rate-factor: expected a number of at least 0.001, got '0'"),
        ("rate_factor", "nan", "--rate-factor: expected a number of at least 0.001, got 'nan'"),
        ("mix", "match=lots", "--mix: match: expected a whole number, got 'lots'"),
        ("mix", "match=0", "--mix: expected parts that are not all 0, got 'match=0'"),
        ("mix", "good=1", "--mix: expected verdicts of match, mismatch, "),
        ("duration", "4", "--duration: expected a whole number of seconds of at least 5, got '4'"),
    ],
)
def test_a_bad_value_is_told_with_its_option(field: str, typed: str, message: str) -> None:
    """The message names the option, what was expected, and what was typed."""
    with pytest.raises(BadOption) as caught:
        chosen(**{field: typed})
    assert str(caught.value).startswith(message)


def test_the_command_line_refuses_the_same() -> None:
    """Argparse, which puts the option's name before it, gets the same message."""
    (rows,) = [option for option in options._OPTIONS if option.field == "rows"]
    with pytest.raises(ArgumentTypeError, match="expected a whole number of at least 1,000"):
        rows.checked("many")


def test_the_duration_squeezes_the_stages() -> None:
    """The same stages take as long as was chosen, and hooks come when they are due in them."""
    found = options.chosen(STAGED, chosen(duration="20"))
    assert [stage.seconds for stage in found.stages] == [20]
    assert [hook.at for hook in found.hooks] == [10]


def test_the_mix_replaces_the_scenarios() -> None:
    """Verdicts that are left out of the mix are not asked for."""
    assert options.chosen(STAGED, chosen(mix="match=1")).mix == {"match": 1}


def test_a_search_has_no_duration() -> None:
    """Steps end by their rule: a duration that would not be kept is refused."""
    search = Scenario("step", "steps", STAGED.traffic, steps=Steps(first=100))
    with pytest.raises(BadOption, match="--duration: step finds its length by itself"):
        options.chosen(search, chosen(duration="20"))


def test_hooks_are_commands_by_name() -> None:
    """A command may have equals signs of its own."""
    given = Namespace(hook=["failover=./promote.sh --to=b"])
    assert options.hooks(given) == {"failover": "./promote.sh --to=b"}
    assert options.hooks(Namespace(hook=None)) == {}


@pytest.mark.parametrize("text", ["failover", "=./promote.sh", "failover="])
def test_a_hook_has_a_name_and_a_command(text: str) -> None:
    """What lacks one of them is refused."""
    with pytest.raises(ArgumentTypeError, match="expected NAME=COMMAND"):
        options._hook(text)
