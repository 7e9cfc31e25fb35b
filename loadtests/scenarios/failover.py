"""The primary dies under load, and a replica takes over."""

from __future__ import annotations

from loadtests.scenario import Hook, Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="failover",
    summary="the primary is killed under load and a replica promoted; changes go on",
    traffic=[
        Traffic("single", "single", 700, within=0.25),
        Traffic("changed", "changed", 80, within=0.25),
        Traffic("change", "change", 20, within=1.0),
    ],
    stages=[
        Stage("warm-up", 5, 800, warm_up=True),
        Stage("before", 15, 800),
        Stage("failover", 25, 800),
        Stage("after", 15, 800),
    ],
    p99={"single": 0.05},
    hooks=[Hook("failover", at=22)],
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
