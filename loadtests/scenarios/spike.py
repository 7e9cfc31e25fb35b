"""From one second to the next 20 times as many ask."""

from __future__ import annotations

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="spike",
    summary="20 times as many single questions from one second to the next, and back again",
    traffic=[Traffic("single", "single", 1, within=0.25)],
    stages=[
        Stage("warm-up", 10, 200, warm_up=True),
        Stage("before", 20, 400),
        Stage("spike", 20, 8_000),
        Stage("after", 20, 400),
    ],
    p99={"single": 0.05},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
