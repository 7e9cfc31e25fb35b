"""Every counter, gauge, histogram and label that the service has, in one list.

Only what the kernel says about a process (``families.of_process``) is not here. docs/metrics.md
holds all (``python -m verifier.metrics`` prints it; a test compares).
"""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, GCCollector, Info

import verifier
from verifier.metrics.cells import Gauge, Histogram, Tally

# From what memory answers in to what nobody waits for any more; the latency budget of a single
# question lies where they are close together.
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one process. Names follow the Prometheus conventions (base units)."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.answers = Tally(
            registry,
            "verifier_answers",
            "Answers by endpoint (verify, batch, stream) and verdict.",
            ("endpoint", "verdict"),
        )
        self.requests = Histogram(
            registry,
            "verifier_request_duration_seconds",
            "From a request's headers until its answer is ready to be sent; of a stream, until "
            "it has been sent. Outcomes: answered (200), invalid (422), refused (another 4xx), "
            "unavailable (503), failed (another 5xx), cut (no answer: the caller went away, or "
            "an error that nobody foresaw).",
            _SECONDS,
            ("endpoint", "outcome"),
        )
        self.ways = Tally(
            registry,
            "verifier_single_questions",
            "Single questions that got an answer, by the way that their request took: the front "
            "desk's, or aiohttp's.",
            ("way",),
        )
        self.sources = Tally(
            registry,
            "verifier_answer_sources",
            "Answers that rest on a reading of the ledger, by where the caller got it.",
            ("source",),
        )
        self.unavailable = Tally(
            registry, "verifier_unavailable", "Questions that could not be checked.", ("reason",)
        )
        self.http_errors = Tally(
            registry, "verifier_http_errors", "Requests refused as a whole.", ("route", "code")
        )
        self.offered = Tally(
            registry,
            "verifier_offered_questions",
            "Questions that were asked, by endpoint (verify, batch, stream), refused ones among "
            "them: what an autoscaler has to look at.",
            ("endpoint",),
        )
        self.refused = Tally(
            registry,
            "verifier_refused_questions",
            "Questions that were refused for want of room or time. How many a refused batch or "
            "stream has is guessed from its length.",
            ("endpoint",),
        )
        self.ledger_lines = Tally(
            registry,
            "verifier_ledger_lines",
            "Lines fed to the ledger by outcome.",
            ("feed", "outcome"),
        )
        self.cache_lookups = Tally(
            registry,
            "verifier_cache_lookups",
            "Look-ups in memory, also for questions that are refused for want of time.",
            ("outcome",),
        )
        self.changes = Tally(
            registry,
            "verifier_changes",
            "Keys that change logs named (heard), entries dropped for them, and findings that "
            "were not kept because their key had changed during the read (refill_refused).",
            ("outcome",),
        )
        self.cache_entries = Gauge(
            "verifier_cache_entries", "Entries in memory.", ("kind",), registry=registry
        )
        self.loader_waiting = Gauge(
            "verifier_loader_waiting_keys",
            "Identities that wait for a connection.",
            ("class",),
            registry=registry,
        )
        self.loader_reading = Gauge(
            "verifier_loader_running_queries", "Look-up queries running.", registry=registry
        )
        self.loader_limit = Gauge(
            "verifier_loader_query_limit",
            "Look-up queries that may run at once, by the latency of the databases.",
            registry=registry,
        )
        self.query_keys = Histogram(
            registry,
            "verifier_query_keys",
            "Identities per look-up query.",
            (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
        )
        self.query_seconds = Histogram(
            registry,
            "verifier_query_seconds",
            "Duration of look-up queries.",
            (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self.rechecks = Tally(
            registry,
            "verifier_absence_rechecks",
            "Identities absent on a replica: found or absent on the primary, the replica's "
            "word stood (trusted), or could not be checked.",
            ("outcome",),
        )
        self.trusted = Gauge(
            "verifier_ledger_trusted",
            "1 when some database shows a state within the staleness bound, else 0.",
            registry=registry,
        )
        self.target_serving = Gauge(
            "verifier_database_serving",
            "1 when a database takes look-ups, else 0.",
            ("target", "role"),
            registry=registry,
        )
        self.target_lag_bytes = Gauge(
            "verifier_replica_lag_bytes", "WAL not replayed.", ("target",), registry=registry
        )
        self.target_lag_seconds = Gauge(
            "verifier_replica_lag_seconds",
            "Age of the state shown.",
            ("target",),
            registry=registry,
        )
        self.open_transaction_seconds = Gauge(
            "verifier_open_transaction_seconds",
            "For how long some transaction of the cluster has been open, as a database's change "
            "log shows it; while it is, nothing is pruned.",
            ("target",),
            registry=registry,
        )
        self.loop_lag = Histogram(
            registry,
            "verifier_event_loop_lag_seconds",
            "How late the event loop runs a timer.",
            (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
        )
        self.suspicions = Tally(
            registry,
            "verifier_suspicions",
            "Keys that asked as guessers do, and are held back: sequential, random, guessing.",
            ("kind",),
        )
        self.exchanges = Tally(
            registry,
            "verifier_exchanges",
            "Exchanges of what a worker counts with the primary: written, or why not.",
            ("outcome",),
        )
        self.in_progress = Gauge(
            "verifier_requests_in_progress",
            "Batches, streams, feeds and reports of usage under way.",
            ("endpoint",),
            registry=registry,
        )
        self.connections = Gauge(
            "verifier_connections", "Connections of clients.", registry=registry
        )
        self.unread = Gauge(
            "verifier_unread_answers",
            "Clients that are behind with reading their answers, streams aside.",
            registry=registry,
        )
        Info("verifier_build", "What runs: always 1.", registry=registry).info(
            {"version": verifier.__version__, "python": platform.python_version()}
        )
        GCCollector(registry)


class SupervisorMetrics:
    """The metrics of a supervisor. A ``worker`` is a slot, 0 to n-1, whoever fills it."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.started = Tally(
            registry, "verifier_workers_started", "Worker processes started.", ("worker",)
        )
        self.ended = Tally(
            registry,
            "verifier_workers_ended",
            "Worker processes ended, by how: the signal, or the exit code.",
            ("worker", "how"),
        )
        self.up = Gauge(
            "verifier_worker_up",
            "1 from when a worker says that it serves until it ends, else 0.",
            ("worker",),
            registry=registry,
        )
        self.report_age = Gauge(
            "verifier_worker_report_age_seconds",
            "Age of a worker's numbers as shown. Above the report interval, it does not tell "
            "them even unasked: it is frozen, or its event loop is held up.",
            ("worker",),
            registry=registry,
        )
