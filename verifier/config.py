"""Config: every setting, from the environment, frozen. Long because it is one list of all settings.

Each field has a working default and says what it bounds and how to choose it. The table in
docs/configuration.md is generated from these descriptions (``python -m verifier.config``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from verifier.errors import ConfigError

PREFIX = "VERIFIER_"

# Kubernetes gives every pod such variables for a Service that is called "verifier".
_KUBERNETES = (f"{PREFIX}SERVICE_", f"{PREFIX}PORT")


def _bound(description: str, **limits: Any) -> Meta:
    return Meta(description=description, **limits)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one process. Sizes are bytes, times seconds."""

    # Databases
    primary_dsn: Annotated[
        str, _bound("PostgreSQL DSN of the primary. Needed by `serve`, `migrate` and `import`.")
    ] = ""
    replica_dsns: Annotated[
        tuple[str, ...],
        _bound("Comma-separated DSNs of read replicas; none: the primary reads too."),
    ] = ()
    read_connections: Annotated[
        int,
        _bound(
            "Dedicated look-up connections per replica and worker; bounds concurrent queries. "
            "Two to four keep one core of PostgreSQL busy; more only lengthens its queue.",
            ge=1,
            le=64,
        ),
    ] = 4
    primary_connections: Annotated[
        int,
        _bound(
            "Look-up connections to the primary per worker: how much re-checking of absent "
            "invoices may cost it. Beyond it a fresh replica's word stands.",
            ge=1,
            le=16,
        ),
    ] = 2
    write_connections: Annotated[
        int, _bound("Connections of the ledger feed to the primary, per worker.", ge=1, le=32)
    ] = 4
    connect_timeout: Annotated[
        float, _bound("Longest time to open a database connection.", gt=0, le=60)
    ] = 2.0
    query_timeout: Annotated[
        float,
        _bound(
            "Longest time a look-up may take; the connection is dropped beyond it, and its "
            "questions become `unavailable`.",
            gt=0,
            le=60,
        ),
    ] = 1.0
    write_timeout: Annotated[
        float, _bound("Longest time for one transaction of the ledger feed.", gt=0, le=3600)
    ] = 300.0
    write_lock_timeout: Annotated[
        float,
        _bound(
            "Longest time that a feed of up to 10,000 lines waits for what another one holds, "
            "before it lets go of its own and begins again. Below PostgreSQL's `deadlock_timeout` "
            "(1 s), so that a longer feed, which cannot begin again, need not give in.",
            gt=0,
            le=60,
        ),
    ] = 0.5
    probe_interval: Annotated[
        float,
        _bound(
            "How often each database is asked for its role, LSN and watermarks. Below half of "
            "the staleness bound.",
            gt=0,
            le=60,
        ),
    ] = 0.25

    # Memory
    cache_entries: Annotated[
        int,
        _bound(
            "Invoices kept in memory per worker, at up to 900 bytes each. Choose by the pod's "
            "memory.",
            ge=2,
        ),
    ] = 200_000
    absence_entries: Annotated[
        int, _bound("Absent identities kept in memory per worker.", ge=2)
    ] = 50_000
    absence_seconds: Annotated[
        float, _bound("Longest time that 'not there' is remembered.", ge=0, le=1)
    ] = 1.0
    max_staleness: Annotated[
        float,
        _bound(
            "An acknowledged change of the ledger shows in every answer to a question that "
            "starts this much later.",
            gt=0,
            le=86_400,
        ),
    ] = 2.0

    brownout: Annotated[
        Literal["on", "off"],
        _bound(
            "Whether, when no database can be read, found invoices are answered from memory "
            "beyond the staleness bound, marked `stale: true`, instead of `unavailable`."
        ),
    ] = "off"
    brownout_seconds: Annotated[
        float, _bound("How far beyond the staleness bound a brown-out goes.", gt=0, le=86_400)
    ] = 300.0

    # Look-ups
    max_batch: Annotated[
        int,
        _bound("Most identities in one query. Larger ones gain little and hold others up.", ge=1),
    ] = 128
    waiting_singles: Annotated[
        int,
        _bound(
            "Identities that may wait for a free connection before single questions are "
            "refused: about 50,000 look-ups a second times the 0.1 s that a caller waits.",
            ge=1,
        ),
    ] = 5_000
    waiting_bulk: Annotated[
        int,
        _bound("The same for batches and streams; lower, so that singles go first.", ge=1),
    ] = 4_000
    max_wait: Annotated[
        float,
        _bound("Longest wait for a free connection before a look-up is given up.", gt=0, le=60),
    ] = 1.0

    # HTTP
    max_body: Annotated[int, _bound("Largest body of a single question.", ge=1024)] = 65_536
    max_batch_items: Annotated[int, _bound("Most invoices in one batch.", ge=1, le=10_000)] = 10_000
    max_batch_body: Annotated[int, _bound("Largest body of a batch.", ge=1024)] = 16_777_216
    max_line: Annotated[
        int, _bound("Longest line of NDJSON, in streams and feeds, and item of a batch.", ge=1024)
    ] = 65_536
    max_header: Annotated[int, _bound("Longest request line or header field.", ge=1024)] = 8_190
    max_headers: Annotated[
        int, _bound("Most fields in the head of a request; proxies add a dozen or two.", ge=8)
    ] = 100
    max_head: Annotated[
        int,
        _bound(
            "Largest head of a request that arrives in pieces, and so what each connection may "
            "hold of one that trickles in; 431 beyond.",
            ge=1024,
        ),
    ] = 32_768
    max_ahead: Annotated[
        int,
        _bound(
            "Bytes of bodies that a connection may send ahead of their turn, while a request "
            "before them is answered; beyond it no more is read from the connection until then.",
            ge=1024,
        ),
    ] = 262_144
    body_timeout: Annotated[
        float,
        _bound("Longest time to receive the body of a single question or batch.", gt=0, le=600),
    ] = 15.0
    max_receiving: Annotated[
        int,
        _bound(
            "Bytes of all bodies of single questions and batches that a worker may be receiving "
            "at once, of which batches leave an eighth to others; what comes beyond is refused "
            "with 503. Above the largest batch; choose by the pod's memory.",
            ge=65_536,
        ),
    ] = 268_435_456
    write_buffer: Annotated[
        int,
        _bound(
            "Most bytes of a batch's answer that are handed to a connection before its client "
            "has taken in what came before.",
            ge=65_536,
        ),
    ] = 524_288
    write_idle: Annotated[
        float,
        _bound(
            "Longest time that a client may take to read what waits in its connection, at most "
            "`VERIFIER_WRITE_BUFFER` of a batch's answer at a time; it is cut off beyond. With "
            "the buffer it makes the slowest rate that is served: 17 KB a second.",
            gt=0,
            le=600,
        ),
    ] = 30.0
    max_unread: Annotated[
        int,
        _bound(
            "Clients of a worker that may be behind with reading their answers at once, streams "
            "aside; beyond it the one that has been so for longest is cut off. Each may hold "
            "`VERIFIER_WRITE_BUFFER` and `VERIFIER_MAX_AHEAD`. So many more may go on sending a "
            "body that was refused, each of which may hold 512 KiB.",
            ge=1,
        ),
    ] = 256
    idle_timeout: Annotated[
        float,
        _bound(
            "Longest time that a stream or feed may stand still, whichever side is slow.",
            gt=0,
            le=3600,
        ),
    ] = 60.0
    header_timeout: Annotated[
        float,
        _bound(
            "Longest time from connecting, or from its first byte on a connection that was idle, "
            "to the end of a request's head; 408 beyond.",
            gt=0,
            le=600,
        ),
    ] = 10.0
    max_connections: Annotated[
        int,
        _bound(
            "Connections of clients at once per worker. Beyond it one that has asked nothing yet "
            "makes room; where there is none, the new one is told 503. The limit of open files is "
            "raised to fit; where it cannot be, there are fewer, and the log says how many.",
            ge=1,
        ),
    ] = 10_000
    keepalive: Annotated[
        float,
        _bound("How long an idle connection is kept; above the load balancer's.", gt=0, le=3600),
    ] = 75.0
    max_streams: Annotated[int, _bound("Streams served at once by a worker; 503 beyond.", ge=1)] = (
        64
    )
    max_feeds: Annotated[
        int, _bound("Ledger feeds received at once by a worker; 503 beyond.", ge=1)
    ] = 16
    max_batches: Annotated[
        int,
        _bound(
            "Batches served at once by a worker, from when the body is there until the answer is "
            "written; 503 beyond. One takes up to 12 MB.",
            ge=1,
        ),
    ] = 32
    drain_seconds: Annotated[
        float,
        _bound("How long running requests may finish after SIGTERM.", gt=0, le=600),
    ] = 10.0

    # Numbers
    report_interval: Annotated[
        float,
        _bound(
            "How often a worker tells the supervisor its numbers, unasked: what a worker counts "
            "in its last so many seconds is lost when it is killed.",
            ge=0.1,
            le=60,
        ),
    ] = 1.0
    scrape_wait: Annotated[
        float,
        _bound(
            "Longest time that a scrape waits for the numbers of each worker; beyond it the last "
            "known ones of a worker are shown. Below a fifth of Prometheus' `scrape_timeout`.",
            gt=0,
            le=10,
        ),
    ] = 0.5

    # Access and logs
    auth: Annotated[
        # To accept "on" and not keep anyone out would be worse than to refuse it.
        Literal["off"],
        _bound("Whether callers need an API key. Only `off` exists in this version."),
    ] = "off"
    expose_ledger: Annotated[
        Literal["on", "off"],
        _bound(
            "Whether `/v1/ledger/*` answers on a host that others can reach. On a loopback "
            "address it always does. Without keys, whoever reaches it can write to the ledger: "
            "`on` is for a network that only feeders can reach."
        ),
    ] = "off"
    refusal_lines: Annotated[
        int,
        _bound(
            "Lines a second that a worker logs about requests that cannot be read and about "
            "those that fail; the next line says how many were left out.",
            ge=1,
        ),
    ] = 10
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _bound("Least severe line that is logged.")
    ] = "info"

    @property
    def kept_from_bulk(self) -> int:
        """The part of max_receiving that batches leave to others."""
        return self.max_receiving // 8

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """The settings given by ``VERIFIER_*`` variables; ConfigError names the one that is wrong.

        An unknown ``VERIFIER_*`` variable is an error too: a misspelt bound must not silently be
        the default.
        """
        kinds = {field.name: field.type for field in msgspec.structs.fields(cls)}
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX) or variable.startswith(_KUBERNETES):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in kinds:
                raise ConfigError(f"{variable}: no such setting (see docs/configuration.md)")
            given: Any = text.strip()
            if name == "replica_dsns":
                given = [dsn.strip() for dsn in text.split(",") if dsn.strip()]
            try:
                values[name] = msgspec.convert(given, kinds[name], strict=False)
            except msgspec.ValidationError as error:
                raise ConfigError(f"{variable}={text!r}: {error}") from error
        config = cls(**values)
        _check_dsns(config)
        if config.max_receiving - config.kept_from_bulk < config.max_batch_body:
            raise ConfigError(
                f"{PREFIX}MAX_RECEIVING={config.max_receiving}: expected at least 8/7 of "
                f"{PREFIX}MAX_BATCH_BODY={config.max_batch_body}, else the largest batch is refused"
            )
        if config.probe_interval > config.max_staleness / 2:
            raise ConfigError(
                f"{PREFIX}PROBE_INTERVAL={config.probe_interval:g}: expected at most half of "
                f"{PREFIX}MAX_STALENESS={config.max_staleness:g}, else answers would be stale "
                "between two probes"
            )
        if config.waiting_bulk > config.waiting_singles:
            raise ConfigError(
                f"{PREFIX}WAITING_BULK={config.waiting_bulk}: expected at most "
                f"{PREFIX}WAITING_SINGLES={config.waiting_singles}, so that singles go first"
            )
        return config


def _check_dsns(config: Config) -> None:
    """Refuse what can never lead to a database; a host that is not there may come."""
    dsns = {"PRIMARY_DSN": (config.primary_dsn,), "REPLICA_DSNS": config.replica_dsns}
    for name, given in dsns.items():
        for place, dsn in enumerate(given, 1):
            scheme = dsn.partition("://")[0].lower()
            if dsn and scheme not in ("postgresql", "postgres"):
                # Not the DSN itself, which may hold a password.
                which = f" (number {place}, a comma begins the next)" if len(given) > 1 else ""
                raise ConfigError(
                    f"{PREFIX}{name}{which}: expected postgresql://user@host:port/database"
                )


def _default(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def table() -> str:
    """The settings as a Markdown table: variable, default, what it bounds."""
    rows = ["| variable | default | what it is and bounds |", "|---|---|---|"]
    for field in msgspec.structs.fields(Config):
        text = next(meta.description for meta in field.type.__metadata__)
        rows.append(f"| `{PREFIX}{field.name.upper()}` | `{_default(field.default)}` | {text} |")
    return "\n".join(rows).replace("``", "") + "\n"


if __name__ == "__main__":
    print(table(), end="")
