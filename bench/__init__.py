"""How fast it is, beside what it is compared with. `make bench` runs all of it.

Where to look::

    __main__    argv; the table, docs/bench.json and docs/bench.png; exit code 1 outside the budget
    figures     P1 to P14: what is divided by what; budget.toml holds the bounds
    measure     how each side of a figure is measured; programs: those that run to an end
    rig         the ledger under test and the servers; processes: their cores and what they use
    load        wrk, and loops of our own client (client): open, and closed for batches
    agreement   peers give the same answers before they are timed
    peers/      what a user would pick instead
    test_*      one hot path a file, for pytest-benchmark and for counts
    counts      instructions of each hot path (cachegrind); requests: of whole servers
    enumeration whom the detector of guessing callers suspects; askers: callers, honest and others
    compare     two revisions in turns: counts, and times with their confidence intervals
    prove       shows that compare catches 10 % and nothing else
    profile     flame graphs (py-spy)
"""
