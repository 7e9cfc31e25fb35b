"""Plants small faults in domain, engine, ledger and database, and tells which no test notices.

``make mutants MODULE=verifier/engine/cache.py`` has mutmut make the faults, and run for each the
tests that reach its function, the quickest first. Survivors are written as diffs; those that change
nothing stand in equivalent.toml with the reason, and are not told again.

mutmut leaves alone what stands outside functions and what is decorated (constants, properties).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from fnmatch import fnmatch

from tests.mutants.changes import change_of, equivalent, outdated
from tests.mutants.ground import FOLDER, ROOT, Ground, names_in

PACKAGES = ("invoice", "engine", "ledger", "database")


def modules_of(package: str, asked: str) -> list[str]:
    """Paths of a package's modules that were asked for: modules, folders or patterns."""
    found = (path.relative_to(ROOT) for path in (ROOT / "verifier" / package).rglob("*.py"))
    patterns = [each for word in asked.split() for each in (word, f"{word.rstrip('/')}/*")]
    return sorted(str(path) for path in found if any(fnmatch(str(path), p) for p in patterns))


def main() -> int:
    """Read the environment: MODULE, SAMPLE (how many of a package's mutants), SEED, POSTGRES.

    Returns 1 when some mutant survived that is not listed as equivalent.
    """
    asked = os.environ.get("MODULE") or "verifier"
    sample = int(os.environ.get("SAMPLE") or 0)
    postgres = bool(os.environ.get("POSTGRES"))
    listed = equivalent()
    sources = [path.read_text("utf-8") for path in (ROOT / "verifier").rglob("*.py")]
    for change in outdated(listed, sources):
        print(f"listed as equivalent, but gone: {change.function}: {change.was}")
    survivors: list[str] = []
    for package in PACKAGES:
        names = names_in(modules_of(package, asked))
        if sample and sample < len(names):
            names = random.Random(os.environ.get("SEED") or 1).sample(names, sample)
        if not names:
            continue
        ground = Ground(package, postgres=postgres)
        print(f"{package}: {len(names)} mutants, see {ground.log.relative_to(ROOT)}", flush=True)
        tried = ground.run(names)
        counts = Counter(tried.values())
        for name, status in tried.items():
            if status == "survived":
                diff = ground.diff(name)
                if change_of(name, diff).is_among(listed):
                    counts["survived"] -= 1
                    counts["equivalent"] += 1
                else:
                    survivors.append("\n".join([name, *diff, ""]))
        print("  " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    path = FOLDER / "survivors.txt"
    path.write_text("\n".join(survivors), "utf-8")
    if survivors:
        print(f"{len(survivors)} survivors: {path.relative_to(ROOT)}")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
