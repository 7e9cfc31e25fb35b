"""The ledger is fed and changed while it is asked about."""

from __future__ import annotations

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="ingest_under_load",
    summary="new invoices and changes of state while questions run, also about what just changed",
    traffic=[
        Traffic("single", "single", 700, within=0.25),
        Traffic("changed", "changed", 250, within=0.25),
        Traffic("change", "change", 40, within=1.0),
        Traffic("feed", "feed", 10, items=200, within=2.0),
    ],
    stages=[
        Stage("warm-up", 5, 700, warm_up=True, parts={"single": 1}),
        Stage("before", 20, 700, parts={"single": 1}),
        Stage("feeding", 40, 1_000),
        Stage("after", 15, 700, parts={"single": 1}),
    ],
    p99={"single": 0.05, "changed": 0.05},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
