"""Steps of single questions up to the knee, and beyond it."""

from __future__ import annotations

from loadtests.scenario import Scenario, Steps, Traffic, under_locust

SCENARIO = Scenario(
    name="step",
    summary="single questions in steps up to the knee, then 0.7 to 3 times as many",
    traffic=[Traffic("single", "single", 1, within=0.25)],
    steps=Steps(first=1_000, beyond=(0.7, 1.5, 2.0, 3.0)),
    p99={"single": 0.02},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
