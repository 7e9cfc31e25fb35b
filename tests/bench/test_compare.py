from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench import compare, driver
from bench.cases import cases
from bench.compare import HOTTEST, PACKAGES, bounds, interval, reason
from bench.counts import available
from bench.prove import SLOWED, padded, slow_down
from loadtests.revisions import export
from tests.support import require_tool


def test_the_interval_holds_the_median_and_forgets_outliers() -> None:
    """Order statistics: one wild pair moves neither the median nor the interval."""
    steady = interval([1.0, 1.01, 0.99] * 6)
    assert (steady.low, steady.ratio, steady.high) == (0.99, 1.0, 1.01)
    wild = interval([1.0, 1.01, 0.99] * 5 + [1.0, 1.01, 9.0])
    assert wild.ratio == 1.0
    assert wild.high == 1.01


def test_few_pairs_claim_little() -> None:
    """With too few pairs for the confidence, the interval is all that was seen."""
    seen = interval([0.9, 1.0, 1.2])
    assert (seen.low, seen.high) == (0.9, 1.2)


def test_hot_paths_of_ci_exist() -> None:
    """Each pattern of CI's short list names some hot path."""
    for pattern in HOTTEST:
        found, missing = cases([pattern])
        assert found, pattern
        assert not missing


def test_bounds_are_wider_in_ci() -> None:
    """What must never fail by noise alone has the wider bounds."""
    assert bounds("parent").instructions > bounds("compare").instructions > 1
    assert bounds("parent").times > bounds("compare").times > 1


def test_a_commit_may_say_why_it_is_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line counts in any commit since the revision, and needs a reason."""
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for message in (
        "first",
        "Bench: slower because",
        "x\n\nBench: slower because of y\n\nz",
        "last",
    ):
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", message], check=True)
    assert reason("HEAD~2") == "Bench: slower because of y"
    assert not reason("HEAD~1")
    subprocess.run([*git, "reset", "--quiet", "--hard", "HEAD~2"], check=True)
    assert not reason("HEAD~1")


def test_a_path_that_an_older_package_cannot_run_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One hot path that fails at its first run does not keep the others from being compared."""

    def fails() -> None:
        raise TypeError("no such argument")

    found = {"good": lambda: lambda: None, "bad": lambda: fails}
    monkeypatch.setattr(driver, "cases", lambda _: (found, {}))
    works, missing = driver.built(["*"])
    assert list(works) == ["good"]
    assert missing == {"bad": "TypeError: no such argument"}


def test_padding_goes_after_the_docstring() -> None:
    """What makes a function slower changes nothing else."""
    source = 'def judge() -> int:\n    """Says."""\n    return 1\n'
    assert padded(source, "judge", 2) == (
        'def judge() -> int:\n    """Says."""\n    _ = 0\n    _ = 0\n    return 1\n'
    )


def test_a_judge_that_is_ten_percent_slower_is_seen(tmp_path: Path) -> None:
    """The slower judge is beyond the bound that an unchanged one keeps."""
    require_tool("valgrind", available())
    module, function, path = SLOWED[0]
    tree = export("", PACKAGES, tmp_path / "tree")
    more = slow_down(tree, module, function, path)
    assert 0.09 < more < 0.11
    assert 1 + more > bounds("compare").instructions
