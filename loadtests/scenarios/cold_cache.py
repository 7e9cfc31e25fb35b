"""Everybody asks about something else: nothing is in memory."""

from __future__ import annotations

from decimal import Decimal

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="cold_cache",
    summary="single questions about invoices drawn uniformly, with memory for under 1 % of them",
    traffic=[Traffic("single", "single", 1, within=0.25)],
    stages=[
        Stage("warm-up", 5, 500, warm_up=True),
        Stage("cold", 30, 2_000),
        Stage("cold, twice as many", 30, 4_000),
    ],
    zipf=Decimal(0),
    distinct=150_000,
    p99={"single": 0.05},
    settings={"VERIFIER_CACHE_ENTRIES": "1000"},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
