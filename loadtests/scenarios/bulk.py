"""The month-end of an ERP: bulk saturates the service while people go on asking."""

from __future__ import annotations

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="bulk",
    summary="batches of 1,000 and streams, more than there is room for, beside single questions",
    traffic=[
        Traffic("single", "single", 300, within=0.25),
        Traffic("batch", "batch", 200, items=1_000, within=10.0),
        Traffic("stream", "stream", 5, items=5_000, within=30.0),
    ],
    stages=[
        Stage("warm-up", 10, 505, warm_up=True, parts={"single": 300, "batch": 20}),
        # The same rate of single questions in each stage: what bulk does to people.
        Stage("people alone", 30, 300, parts={"single": 1}),
        Stage("with bulk", 30, 350, parts={"single": 300, "batch": 45, "stream": 5}),
        Stage("bulk saturates", 30, 505),
        Stage("people again", 15, 300, parts={"single": 1}),
    ],
    p99={"single": 0.05},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
