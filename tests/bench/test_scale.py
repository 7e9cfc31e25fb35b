from __future__ import annotations

import os
import random
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import feed_polls, scale, scale_ledger, scale_plan
from bench.feed import cost
from bench.load import Void
from bench.rig import QUICK
from bench.scale_common import Sample, Section, children, on_core, spread, turns
from bench.scale_memory import simulate
from loadtests.processes import RigError
from tests.support import Database
from verifier.database.migrate import migrate

_PAGE = scale.PAGE


def _section() -> Section:
    return Section("One", [["a", "b"], ["1", "2"]], "Said.", {"x": [{"y": 1.0}]})


def test_every_section_has_its_place_in_the_page() -> None:
    """The page has both lines around the table of each section, once."""
    text = _PAGE.read_text()
    for name in scale.SECTIONS:
        assert [text.count(marker) for marker in scale.markers(name)] == [1, 1], name


def test_a_table_replaces_its_own_and_no_other() -> None:
    """What is between the lines of a section is new, all else stays; no place is an error."""
    text = "".join("".join(scale.markers(name)) for name in ("one", "two"))
    once = scale.put(text, "one", "first\n")
    twice = scale.put(once, "one", "second\n")
    assert "first" not in twice
    assert twice.index("second") < twice.index(scale.markers("two")[0])
    with pytest.raises(RigError, match="three"):
        scale.put(text, "three", "")


def test_sections_are_kept_one_by_one(tmp_path: Path) -> None:
    """A section that is taken again leaves the others in the JSON and in the page."""
    (tmp_path / "scale.md").write_text(_PAGE.read_text())
    scale.keep("feed", _section(), QUICK, 1.0, tmp_path)
    scale.keep("polls", _section(), QUICK, 2.0, tmp_path)
    known = msgspec.json.decode((tmp_path / "scale.json").read_bytes())
    assert list(known) == ["feed", "polls"]
    assert known["feed"]["samples"] == {"x": [{"y": 1.0}]}
    assert (tmp_path / "scale.md").read_text().count("| 1 | 2 |\n\nSaid.\n") == 2


def test_every_other_round_goes_the_other_way_round() -> None:
    """Drift within a round then falls on both sides alike."""
    order = ""

    def measure(name: str) -> Sample:
        nonlocal order
        order += name
        return {"x": 1.0}

    samples = turns({name: lambda name=name: measure(name) for name in "ab"}, 3)  # type: ignore[misc]
    assert order == "abbaab"
    assert [len(each) for each in samples.values()] == [3, 3]


def test_a_run_that_never_counts_is_an_error() -> None:
    """Void runs are taken again, but not for ever."""
    tries = 0

    def void() -> Sample:
        nonlocal tries
        tries += 1
        raise Void("busy")

    with pytest.raises(RigError, match="never"):
        turns({"never": void}, 1)
    assert 1 < tries < 10


def test_spreads_name_the_middle_and_both_ends() -> None:
    """The median first, then from where to where."""
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00 … 3.00)"


def test_cpu_of_a_process_grows_with_its_work() -> None:
    """What is read of a process is its own time on a core; one that is gone is an error."""
    before = on_core(os.getpid())
    sum(range(2_000_000))
    assert on_core(os.getpid()) > before
    with pytest.raises(RigError, match="ended"):
        on_core(2**22 + 1)  # beyond the largest process id


def test_children_of_a_process_are_found() -> None:
    """Workers are the children of their supervisor."""
    pid = os.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", "input()"])
    try:
        assert pid in children(os.getpid())
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_what_following_costs_is_what_is_lost() -> None:
    """A worker that does 98 where the other does 100 loses 2 %."""
    on, off = [{"rate": 98.0}] * 9, [{"rate": 100.0}] * 9
    assert cost(on, off, "rate") == "2.0 % (2.0 % … 2.0 %)"


@pytest.mark.parametrize("exponent", [Decimal("0.8"), Decimal("1.0")])
def test_more_room_finds_more_and_never_more_than_is_possible(exponent: Decimal) -> None:
    """The simulated hit ratio grows with the capacity and stays below that of the best choice."""
    source = random.Random(1)
    small, large = (simulate(exponent, 2_000, room, 20_000, source) for room in (20, 400))
    assert 0 < small["hit_ratio"] < large["hit_ratio"]
    for each in (small, large):
        # Draws within a bucket of ranks are even, hence the little above.
        assert each["hit_ratio"] < each["best"] + 0.02


def _known() -> dict[str, Any]:
    def section(**measured: dict[str, float]) -> dict[str, Any]:
        return {"samples": {name: [values] for name, values in measured.items()}}

    cpu, look_up = {"worker_us": 10.0}, {"cpu_us": 5.0}
    ledger = {"table": 240e6, "index": 60e6, "log_bytes": 300.0}
    return {
        "database": section(single=cpu, batch=cpu),
        "polls": section(**{"60 pollers, changes": {"client_us": 100.0, "server_us": 200.0}}),
        "haproxy": section(**{"random(2)": {"proxy_us": 50.0}}),
        "ledger": section(
            **{"1000000 ledger": ledger, "1000 ledger": {}},
            **{"1000000 single": look_up, "1000000 batch": look_up},
        ),
    }


def test_the_plan_follows_from_the_figures(tmp_path: Path) -> None:
    """Its arithmetic holds for figures that can be checked by hand."""
    file = tmp_path / "scale.json"
    file.write_bytes(msgspec.json.encode(_known()))
    plan = {row[0]: row[2] for row in scale_plan.plan(file).rows}
    assert plan["a row with its index"] == "300 bytes"
    assert plan["one copy"] == "15.0 TB"
    assert plan["workers' CPU at peak"] == "10.2 cores"
    assert plan["polling by a worker"] == "1.0 % of its core"
    # 10.2 ÷ (0.5 − 0.0096) is 20.8: 21 with a zone gone, 11 in each of three.
    assert plan["workers, a core each"] == "33"


def test_a_plan_without_figures_is_refused(tmp_path: Path) -> None:
    """A section that was not taken is named, never assumed."""
    with pytest.raises(RigError, match="ledger"):
        scale_plan.plan(tmp_path / "none.json")
    file = tmp_path / "scale.json"
    known = _known()
    del known["haproxy"]
    file.write_bytes(msgspec.json.encode(known))
    with pytest.raises(RigError, match="haproxy"):
        scale_plan.plan(file)


def test_the_kept_plan_is_that_of_the_kept_figures() -> None:
    """docs/scale.json and the plan in the page belong together."""
    known = msgspec.json.decode(scale.FACTS.read_bytes())
    assert known["plan"]["table"] == scale_plan.plan(scale.FACTS).rows
    assert scale_plan.plan(scale.FACTS).markdown() in _PAGE.read_text()


def test_the_page_is_made_of_the_kept_figures() -> None:
    """Every table in the page is the one that was kept with its samples."""
    known = msgspec.json.decode(scale.FACTS.read_bytes())
    text = _PAGE.read_text()
    for name in scale.SECTIONS:
        table = Section("", known[name]["table"], "", {}).markdown()
        assert table.strip() in text, name


async def test_pollers_ask_what_a_worker_asks(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They poll at the interval of the configuration and report what the server spent on it."""
    await migrate(database.primary_dsn)
    monkeypatch.setenv("BENCH_DSN", database.primary_dsn)
    await feed_polls.main(2, 1.0)
    said = msgspec.json.decode(capsys.readouterr().out)
    assert said["polls"] == said["due"] == 8
    assert 0 < said["backends"] < said["seconds"]


def test_a_ledger_grows_and_is_looked_up(tmp_path: Path) -> None:
    """Each size is filled by COPY, every key is found, and nothing is left on the disk."""
    section = scale_ledger.measure(tmp_path, [1_000, 3_000], 1, 0.1)
    assert [row[0] for row in section.rows[1:]] == ["1,000", "3,000"]
    assert section.samples["3000 single"][0]["hit_ratio"] == 1.0
    assert not list(tmp_path.iterdir())
