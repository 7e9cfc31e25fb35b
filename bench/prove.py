"""Does the guard work? ``python -m bench.prove [RUNS]``: about a minute a run.

Compares this tree RUNS times with itself, and as often with copies in which the judge or the codec
takes 10 % more instructions. Exit code 1 unless each copy was caught, and this tree passed, every
time.
"""

from __future__ import annotations

import ast
import sys
import tempfile
from pathlib import Path

from bench.compare import PACKAGES, bounds, compare
from bench.counts import ToolError, count
from loadtests.revisions import export

SLOWER = 0.10
# Module, function, the hot path that is to take so much more
SLOWED = (
    ("verifier/invoice/verdict.py", "agrees", "verdict/agrees"),
    ("verifier/invoice/verdict.py", "judge", "verdict/judge-match"),
    ("verifier/wire/questions.py", "decode_question", "codec/decode-single"),
    ("verifier/wire/answers.py", "encode", "codec/encode-match"),
)
PATTERNS = [path for *_, path in SLOWED]


def padded(source: str, function: str, statements: int) -> str:
    """The source with so many statements, which do nothing, at the start of a function."""
    found = next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    # After the docstring.
    first = found.body[1]
    lines = source.splitlines(keepends=True)
    lines[first.lineno - 1 : first.lineno - 1] = [" " * first.col_offset + "_ = 0\n"] * statements
    return "".join(lines)


def slow_down(tree: Path, module: str, function: str, path: str) -> float:
    """Make a function slower by SLOWER of a hot path's instructions; by how much it became."""
    file = tree / module
    source = file.read_text()
    plain = count(tree, [path]).instructions[path]
    file.write_text(padded(source, function, 100))
    each = (count(tree, [path]).instructions[path] - plain) / 100
    file.write_text(padded(source, function, round(SLOWER * plain / each)))
    return count(tree, [path]).instructions[path] / plain - 1


def caught(old: Path, new: Path, runs: int) -> int:
    """In how many of the runs some hot path was judged slower."""
    found = 0
    for _ in range(runs):
        rows, _ = compare(old, new, PATTERNS, bounds("compare"))
        slower = [row.name for row in rows if row.slower]
        found += bool(slower)
        print(f"  slower: {', '.join(slower) or 'nothing'}", flush=True)
    return found


def main() -> int:
    """0 when the guard was right in all runs."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="bench-prove-") as folder:
        old = export("", PACKAGES, Path(folder) / "old")
        print("unchanged", flush=True)
        wrong = alarms = caught(old, export(str(old), PACKAGES, Path(folder) / "same"), runs)
        print(f"unchanged: {alarms} false alarms in {runs} runs", flush=True)
        for module, function, path in SLOWED:
            new = export(str(old), PACKAGES, Path(folder) / function)
            more = slow_down(new, module, function, path)
            print(f"{function}: {more:+.1%} instructions in {path}", flush=True)
            found = caught(old, new, runs)
            wrong += runs - found
            print(f"{function}: caught in {found} of {runs} runs", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"bench: {error}")
