"""An attacker tries numbers and amounts in a row, beside nobody else."""

from __future__ import annotations

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="enumeration",
    summary="numbers and amounts tried in a row, as somebody does who guesses",
    traffic=[
        Traffic("single", "single", 99, within=0.25),
        Traffic("batch", "batch", 1, items=500, within=2.0),
    ],
    stages=[
        Stage("warm-up", 5, 200, warm_up=True),
        Stage("guessing", 40, 2_000),
    ],
    pick="invented",
    p99={"single": 0.05},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
