"""Who passes for an enumerator, and how soon: ``python -m bench.enumeration [QUESTIONS]``.

Prints how many honest questions made one suspect (none, or it fails), seconds until others are, and
what a question costs. The callers are in askers.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import islice

from bench.askers import (
    ATTACKS,
    HONEST,
    OTHERS,
    SEEDS,
    SHARES,
    Answered,
    Played,
    honest,
    play,
    pool,
    row,
    scattered,
)
from verifier.access.enumeration import Trail

_QUESTIONS, _DISTINCT = 3_000_000, 50_000


def _cost(answers: Sequence[Answered]) -> float:
    """Microseconds for each question, one a request."""
    trail, calls = Trail(), [(each.key, each.guess) for each in answers]
    began = time.perf_counter()
    for at, (key, guess) in enumerate(calls):
        if answers[0].verdict == "match":
            trail.asked += 1
        elif answers[0].verdict == "not_found":
            trail.missed(1, (key,), (), at / 1_000)
        else:
            trail.missed(1, (), ((key, guess),), at / 1_000)
    return (time.perf_counter() - began) / len(calls) * 1e6


def _shows(name: str, played: Played) -> bool:
    """Whether an honest caller was suspect, which is printed."""
    if played.suspicion:
        print(f"SUSPECT: {name}, after {played.after} s: {played.suspicion}")
    return played.suspicion is not None


def main() -> int:
    """Print the figures; 1 if an honest caller was suspect, or another was not."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else _QUESTIONS
    each, failed = most // (len(HONEST) * len(SHARES) * SEEDS), False
    mixes, others = 0, 0
    for seed in range(SEEDS):
        for name in HONEST:
            for share in SHARES:
                played = play(honest(name, share, seed, each, _DISTINCT))
                mixes += played.asked
                failed |= _shows(f"{name} x {share}", played)
        for name, made in OTHERS.items():
            played = play(made(seed))
            others += played.asked
            failed |= _shows(name, played)
        pool.cache_clear()
    # Without a case in n, the upper bound of 95 % confidence is 3/n.
    print(f"honest: {mixes:,} questions of scenarios, {others:,} others; some suspect: {failed}")
    print(f"at most {3 / mixes:.1e} a question of scenarios, if none was")
    for name, attack in ATTACKS.items():
        for workers in (1, 4, 8):
            found = [play(attack(seed), workers, seed) for seed in range(SEEDS)]
            after = [each.after for each in found if each.after is not None]
            # Each worker judges what it sees: a slow attack that is spread over many is not much.
            failed |= workers == 1 and len(after) < len(found)
            kinds = sorted({each.suspicion.kind for each in found if each.suspicion})
            shown = f"{max(after):.1f} s at most" if after else "never"
            print(f"{name}, {workers} workers: {len(after)} of {len(found)}, {shown} {kinds}")
    for verdict in ("match", "not_found", "mismatch"):
        for way, asked in (("in a row", row(verdict)), ("by chance", scattered(verdict, 1))):
            print(f"{verdict} {way}: {_cost(tuple(islice(asked, 200_000))):.2f} us")
    return failed


if __name__ == "__main__":
    sys.exit(main())
