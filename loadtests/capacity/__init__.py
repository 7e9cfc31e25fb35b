"""What a number of workers carries, what it costs, and how many are needed.

observed (what a run says) · usl (throughput by workers) · costs (CPU by what is done) · latency
(p99 by utilisation) · model (all three, as JSON) · measure (the runs to make) · fit · validate
(fitted on half of the runs, the others predicted) · sizing (pods and replicas, arithmetic alone) ·
spending (the model's figures for it) · plan (both together, with bands) · told (a plan in words) ·
plots · cli.
"""
