"""Suspecting: the service finds out who guesses, in time, and suspects nobody else."""

from __future__ import annotations

from loadtests.result import Result
from loadtests.scenario import Scenario

# Seconds from the beginning of a run within which somebody who guesses is found.
WITHIN = 30


def suspected_wrongly(scenario: Scenario, result: Result) -> str:
    """What is wrong with whom the service suspected; nothing of one that does not say."""
    seconds = [
        window.second for window in result.windows if window.service and window.service.suspicions
    ]
    if not any(w.service and w.service.suspicions is not None for w in result.windows):
        return ""
    if scenario.pick != "invented":
        return f"an honest caller was suspected after {seconds[0]} s" if seconds else ""
    if not seconds:
        return "nobody was suspected, though numbers were tried in a row"
    if seconds[0] > WITHIN:
        return f"who guesses was found after {seconds[0]} s; expected {WITHIN} at most"
    return ""
