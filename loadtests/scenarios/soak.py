"""Twenty minutes of the same: what grows, leaks or drifts shows itself."""

from __future__ import annotations

from loadtests.scenario import Scenario, Stage, Traffic, under_locust

SCENARIO = Scenario(
    name="soak",
    summary="the mix of the peak hour at half of its rate, for twenty minutes",
    traffic=[
        Traffic("single", "single", 900, within=0.25),
        Traffic("batch_small", "batch", 90, items=20, within=0.5),
        Traffic("batch_large", "batch", 8, items=500, within=2.0),
        Traffic("stream", "stream", 2, items=2_000, within=5.0),
    ],
    stages=[
        Stage("warm-up", 15, 300, rate_at_begin=100, warm_up=True),
        # Stages of the same load: they are compared with each other.
        *(Stage(f"minutes {begin} to {begin + 5}", 300, 300) for begin in range(0, 20, 5)),
    ],
    p99={"single": 0.05, "batch_small": 0.1, "batch_large": 0.5},
)

if under_locust():
    from loadtests.locust_users import of

    User, Shape = of(SCENARIO)
