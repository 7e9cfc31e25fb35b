"""The busiest hour: people and ERP systems at once, and popular invoices more than others."""

from __future__ import annotations

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="peak_hour",
    summary="single questions, small batches, a few large ones and streams, as at the peak hour",
    traffic=[
        Traffic("single", "single", 900, within=0.25),
        Traffic("batch_small", "batch", 90, items=20, within=0.5),
        Traffic("batch_large", "batch", 8, items=500, within=2.0),
        Traffic("stream", "stream", 2, items=2_000, within=5.0),
    ],
    stages=[
        Stage("warm-up", 10, 300, rate_at_begin=100, warm_up=True),
        Stage("before", 30, 300),
        Stage("rise", 20, 600, rate_at_begin=300),
        Stage("peak", 40, 600),
        Stage("after", 20, 300, rate_at_begin=600),
    ],
    p99={"single": 0.05, "batch_small": 0.1, "batch_large": 0.5},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
