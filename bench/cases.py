"""All hot paths by name, as ``file/case``; those that cannot be built are told with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

from bench.samples import Case


def names() -> list[str]:
    """The files of hot paths, without ``test_``."""
    return sorted(
        file.stem.removeprefix("test_") for file in Path(__file__).parent.glob("test_*.py")
    )


def cases(patterns: Iterable[str]) -> tuple[dict[str, Case], dict[str, str]]:
    """Cases that fit a pattern, by name, and the reason for each file that cannot be imported.

    An older revision of the package may lack what a file measures.
    """
    patterns = list(patterns)
    found: dict[str, Case] = {}
    missing: dict[str, str] = {}
    for name in names():
        if not any(fnmatch(name, pattern.partition("/")[0]) for pattern in patterns):
            continue
        try:
            module = import_module(f"bench.test_{name}")
        except (ImportError, AttributeError, TypeError) as error:
            missing[name] = f"{type(error).__name__}: {error}"
        else:
            for case, build in module.CASES.items():
                if any(fnmatch(f"{name}/{case}", pattern) for pattern in patterns):
                    found[f"{name}/{case}"] = build
    return found, missing
