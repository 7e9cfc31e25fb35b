"""Everybody asks about the same invoice, which the news has shown."""

from __future__ import annotations

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="hot_invoice",
    summary="one invoice that everybody asks about, with a rise from one second to the next",
    traffic=[Traffic("single", "single", 1, within=0.25)],
    stages=[
        Stage("warm-up", 5, 500, warm_up=True),
        Stage("some", 15, 1_000),
        Stage("everybody", 30, 8_000),
    ],
    pick="one",
    p99={"single": 0.02},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
