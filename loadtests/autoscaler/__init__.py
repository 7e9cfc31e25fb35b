"""What a HorizontalPodAutoscaler would do with a day, or with a step, by what it looks at.

The documented algorithm as pure code: replicas (metrics to a number of pods) · behavior (how fast
it may change) · hpa (one round of the controller). What it is given: load (requests a second) ·
pods (what a pod carries and costs) · signals (what the metrics say, and how late). simulate runs
them second by second; report and plots show it; cli is ``python -m loadtests simulate``.

Not modelled: scaling to zero, failed pods, nodes that must come first, caches that are cold when a
pod is ready, and load that grows because callers try again.
"""
