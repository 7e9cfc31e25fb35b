"""The sections of Config: every setting. Long because it is one list of all settings.

Each field has a working default and says what it bounds and how to choose it; docs/configuration.md
is generated from these descriptions. Sizes are bytes, times seconds. No two sections have a field
of the same name: its variable is ``VERIFIER_`` and that name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


def _bound(description: str, **limits: Any) -> Meta:
    return Meta(description=description, **limits)


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the settings, for those whom it concerns."""


class Databases(Section, frozen=True, kw_only=True):
    """Where the databases are, and how they are asked."""

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
            "Look-up connections to the primary per worker. They bound the load of "
            "re-checking absent invoices: when all are busy, a fresh replica's 'absent' is "
            "accepted.",
            ge=1,
            le=16,
        ),
    ] = 2
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
    probe_interval: Annotated[
        float,
        _bound(
            "How often each database is asked for its role, LSN and watermarks; at most half "
            "of `VERIFIER_MAX_STALENESS`.",
            gt=0,
            le=60,
        ),
    ] = 0.25
    reconnect_pause: Annotated[
        float,
        _bound(
            "Longest pause between attempts to reach a server that is gone; one that is back is "
            "noticed within it.",
            gt=0,
            le=60,
        ),
    ] = 2.0


class Ingest(Section, frozen=True, kw_only=True):
    """What comes into the ledger."""

    write_connections: Annotated[
        int, _bound("Connections of the ledger feed to the primary, per worker.", ge=1, le=32)
    ] = 4
    write_timeout: Annotated[
        float, _bound("Longest time for one transaction of the ledger feed.", gt=0, le=3600)
    ] = 300.0
    write_lock_timeout: Annotated[
        float,
        _bound(
            "How long a feed of up to 10,000 lines waits for another feed's locks before it "
            "releases its own and starts over. Keep it below PostgreSQL's `deadlock_timeout` "
            "(1 s): a longer feed cannot start over, and must not be the one that gives in.",
            gt=0,
            le=60,
        ),
    ] = 0.5


class ChangeLog(Section, frozen=True, kw_only=True):
    """The log of changes, which workers follow."""

    changes_kept: Annotated[
        float,
        _bound(
            "How long changes are kept for the workers that follow them, from when their "
            "transaction has ended. A worker that was away for longer discards its cache.",
            gt=0,
            le=604800,
        ),
    ] = 3_600.0
    prune_interval: Annotated[
        float, _bound("How often older changes are removed.", gt=0, le=86400)
    ] = 600.0
    max_backlog: Annotated[
        int,
        _bound(
            "New keys of the change log that a worker applies one by one in a look. With more, as "
            "after one very large commit, it discards its cache instead and reads on behind them.",
            ge=1,
        ),
    ] = 100_000
    max_gaps: Annotated[
        int,
        _bound(
            "Missing sequence numbers of the change log that a worker tracks at once. A "
            "number is missing while its transaction is open, or when it was rolled back "
            "behind one that is still open. Each costs microseconds a look; beyond this many,"
            " the cache is not used until the oldest transaction ends.",
            ge=1,
        ),
    ] = 2_048


class Memory(Section, frozen=True, kw_only=True):
    """What a worker remembers."""

    cache_entries: Annotated[
        int,
        _bound(
            "Invoices kept in memory per worker, at up to 900 bytes each. Choose by the pod's "
            "memory.",
            ge=2,
            le=100_000_000,
        ),
    ] = 200_000
    absence_entries: Annotated[
        int, _bound("Absent identities kept in memory per worker.", ge=2, le=100_000_000)
    ] = 50_000
    absence_seconds: Annotated[
        float, _bound("Longest time that 'not there' is remembered.", ge=0, le=1)
    ] = 1.0


class Staleness(Section, frozen=True, kw_only=True):
    """How old a state may be that an answer rests on."""

    max_staleness: Annotated[
        float,
        _bound(
            "Every acknowledged change of the ledger shows in the answers to questions that "
            "start at least this long after it.",
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


class Loading(Section, frozen=True, kw_only=True):
    """How questions that memory cannot answer become queries."""

    max_batch: Annotated[
        int,
        _bound(
            "Most identities in one query of the loader. Larger ones gain little and hold others "
            "up. A request with a consistency token asks for up to 1,000 at once, past the loader.",
            ge=1,
        ),
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
        _bound(
            "The same for batches and streams, which wait for room; lower, so that singles go "
            "first.",
            ge=1,
        ),
    ] = 4_000
    max_wait: Annotated[
        float,
        _bound(
            "Longest wait of a single question for a free connection before its look-up is given "
            "up. Bulk waits for as long as its caller does.",
            gt=0,
            le=60,
        ),
    ] = 1.0


class Overload(Section, frozen=True, kw_only=True):
    """When a worker takes in no more than it can answer in time."""

    standing_delay: Annotated[
        float,
        _bound(
            "A worker is overloaded when what arrives has to wait for longer than this without a "
            "break (`VERIFIER_STANDING_INTERVAL`). Then of each time as long as they wait it takes "
            "in single questions for as long as this; of the others the front desk answers matches "
            "from memory and refuses the rest, as all new bulk.",
            gt=0,
            le=10,
        ),
    ] = 0.01
    standing_interval: Annotated[
        float,
        _bound(
            "How long the delay has to stand; bursts and pauses that are shorter are worked off.",
            gt=0,
            le=60,
        ),
    ] = 0.1


class Connections(Section, frozen=True, kw_only=True):
    """Connections of clients, and what they may send ahead."""

    max_connections: Annotated[
        int,
        _bound(
            "Connections of clients at once per worker. When all are in use, a new one "
            "replaces one that has sent no request yet; if there is none, the new one gets "
            "503. The limit of open files is raised to fit; where it cannot be, the bound is "
            "lowered, and the log says so.",
            ge=1,
        ),
    ] = 10_000
    max_connections_per_address: Annotated[
        int,
        _bound(
            "Of those, how many may come from one address, an IPv6 address counting by its /64; "
            "0: any number. Loopback and `VERIFIER_TRUSTED_PROXIES` are exempt. Above what the "
            "largest office has behind one address; where the network hides addresses, 0.",
            ge=0,
        ),
    ] = 1_000
    trusted_proxies: Annotated[
        tuple[str, ...],
        _bound(
            "Comma-separated addresses and networks (CIDR) of balancers, each of which stands for "
            "many clients: `VERIFIER_MAX_CONNECTIONS_PER_ADDRESS` does not hold for them."
        ),
    ] = ()
    turn_away: Annotated[
        float,
        _bound(
            "How long a connection beyond these bounds stays open after its 503, so that its "
            "client can read it. At most an eighth of `VERIFIER_MAX_CONNECTIONS` waits like this "
            "at a time.",
            gt=0,
            le=60,
        ),
    ] = 1.0
    max_header: Annotated[
        int, _bound("Longest request line or header field.", ge=1024, le=1_048_576)
    ] = 8_190
    max_headers: Annotated[
        int,
        _bound(
            "Most fields in the head of a request; proxies add a dozen or two.", ge=8, le=10_000
        ),
    ] = 100
    max_head: Annotated[
        int,
        _bound(
            "Largest head that may arrive in several pieces, and so what a slow sender can "
            "make a connection hold; 431 beyond.",
            ge=1024,
        ),
    ] = 32_768
    known_heads: Annotated[
        int,
        _bound(
            "Heads of requests that the front desk keeps with what they mean, per worker, at most "
            "2 KiB each: a question behind one costs least. 0 closes the desk.",
            ge=0,
            le=100_000,
        ),
    ] = 1_000
    max_ahead: Annotated[
        int,
        _bound(
            "Bytes of bodies that a connection may send ahead of their turn, while a request "
            "before them is answered; beyond it no more is read from the connection until then.",
            ge=1024,
        ),
    ] = 262_144
    header_timeout: Annotated[
        float,
        _bound(
            "Longest time from connecting, or from its first byte on a connection that was idle, "
            "to the end of a request's head; 408 beyond.",
            gt=0,
            le=600,
        ),
    ] = 10.0
    keepalive: Annotated[
        float,
        _bound(
            "How long an idle connection is kept; set it above the load balancer's idle timeout.",
            gt=0,
            le=3600,
        ),
    ] = 75.0
    drain_accept: Annotated[
        float,
        _bound(
            "For how long after SIGTERM new connections and requests are still taken, while "
            "`/readyz` says no and each answer closes its connection: until every balancer has "
            "noticed. `verifier up`, where no balancer looks at `/readyz` but its own, sets it by "
            "itself.",
            ge=0,
            le=600,
        ),
    ] = 2.0
    drain_seconds: Annotated[
        float,
        _bound("How long running requests may take to finish after that.", gt=0, le=600),
    ] = 10.0


class Requests(Section, frozen=True, kw_only=True):
    """What a request may hold, and how many there may be."""

    max_body: Annotated[int, _bound("Largest body of a single question.", ge=1024)] = 65_536
    max_batch_items: Annotated[int, _bound("Most invoices in one batch.", ge=1, le=10_000)] = 10_000
    max_batch_body: Annotated[int, _bound("Largest body of a batch.", ge=1024)] = 16_777_216
    max_line: Annotated[
        int, _bound("Longest line of NDJSON, in streams and feeds, and item of a batch.", ge=1024)
    ] = 65_536
    body_timeout: Annotated[
        float,
        _bound("Longest time to receive the body of a single question or batch.", gt=0, le=600),
    ] = 15.0
    max_receiving: Annotated[
        int,
        _bound(
            "Bytes of all bodies of single questions and batches that a worker may be "
            "receiving at once; batches may use seven eighths of it. What comes beyond is "
            "refused with 503. Above the largest batch; choose by the pod's memory.",
            ge=65_536,
        ),
    ] = 268_435_456
    idle_timeout: Annotated[
        float,
        _bound(
            "Longest time that a stream or feed may stand still, whichever side is slow.",
            gt=0,
            le=3600,
        ),
    ] = 60.0
    max_streams: Annotated[int, _bound("Streams served at once by a worker; 503 beyond.", ge=1)] = (
        64
    )
    max_feeds: Annotated[
        int, _bound("Ledger feeds received at once by a worker; 503 beyond.", ge=1)
    ] = 16
    single_timeout: Annotated[
        float,
        _bound(
            "How long a single question may take; a caller may ask for less by `Request-Timeout`. "
            "No read begins for it after that.",
            gt=0,
            le=600,
        ),
    ] = 5.0
    batch_timeout: Annotated[
        float,
        _bound(
            "The same for a batch; items that could not be read in time are `unavailable`.",
            gt=0,
            le=3600,
        ),
    ] = 60.0
    max_batches: Annotated[
        int,
        _bound(
            "Batches served at once by a worker, from when the body is there until the answer is "
            "written; 503 beyond. One takes up to 12 MB.",
            ge=1,
        ),
    ] = 32

    @property
    def kept_from_bulk(self) -> int:
        """The part of max_receiving that batches leave to others."""
        return self.max_receiving // 8


class Answers(Section, frozen=True, kw_only=True):
    """How long clients may take for their answers."""

    write_buffer: Annotated[
        int,
        _bound(
            "How much of a batch's answer may be waiting in a connection for its client to read.",
            ge=65_536,
        ),
    ] = 524_288
    write_idle: Annotated[
        float,
        _bound(
            "Longest time that a client may take to read what waits in its connection; it is "
            "cut off beyond. Together with `VERIFIER_WRITE_BUFFER` this sets the slowest "
            "client that is served: 17 KB a second.",
            gt=0,
            le=600,
        ),
    ] = 30.0
    max_unread: Annotated[
        int,
        _bound(
            "How many clients may be slow to read their answers at once, streams aside. "
            "Beyond it, the one that was slow for longest is cut off. Each may hold "
            "`VERIFIER_WRITE_BUFFER` and `VERIFIER_MAX_AHEAD`. As many more may still be "
            "sending a body that was refused, each of which may hold 512 KiB.",
            ge=1,
        ),
    ] = 256
    last_write: Annotated[
        float,
        _bound(
            "Longest time that a client may take to read the last line of a stream and to "
            "close its own side.",
            gt=0,
            le=60,
        ),
    ] = 1.0
    linger: Annotated[
        float,
        _bound(
            "How long the rest of a refused request's body is still read, so that its client "
            "gets to read the refusal.",
            gt=0,
            le=600,
        ),
    ] = 10.0


class Numbers(Section, frozen=True, kw_only=True):
    """How the numbers of all workers come together."""

    report_interval: Annotated[
        float,
        _bound(
            "How often a worker tells the supervisor its numbers, unasked. When a worker is "
            "killed, at most this many seconds of its counts are lost.",
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


class Access(Section, frozen=True, kw_only=True):
    """Who may ask."""

    auth: Annotated[
        Literal["on", "off"],
        _bound(
            "Whether callers need an API key. `off` is for a network of which everybody may ask "
            "and, where the ledger is exposed, feed."
        ),
    ] = "on"
    key_peppers: Annotated[
        tuple[str, ...],
        _bound(
            "Comma-separated secrets of at least 32 characters, the same for all workers and for "
            "`verifier keys`: keys are kept under the first, and found under each. Needed unless "
            "`VERIFIER_AUTH` is `off`."
        ),
    ] = ()
    keys_kept: Annotated[
        float,
        _bound(
            "Seconds for which known keys hold while no database tells of changes; a key that is "
            "revoked meanwhile holds as long.",
            gt=0,
            le=3600,
        ),
    ] = 60.0
    admin_port: Annotated[
        int,
        _bound(
            "Port of its own for `/metrics`, `/livez`, `/readyz` and `/startupz`, where nobody "
            "needs a key; 0: none. `verifier serve` then runs a supervisor.",
            ge=0,
            le=65535,
        ),
    ] = 0
    veil: Annotated[
        float,
        _bound(
            "Who has no scope `explain` gets what is no match a multiple of so many seconds after "
            "the question, so that time does not tell whether the invoice is there. More than a "
            "look-up on the primary takes.",
            gt=0,
            le=1,
        ),
    ] = 0.025
    exchange_interval: Annotated[
        float,
        _bound(
            "How often a worker writes what it counts by tenant and key to the primary, when there "
            "is anything; one that dies loses what it counted since.",
            ge=0.1,
            le=2,
        ),
    ] = 1.0
    failed_attempts: Annotated[
        int,
        _bound(
            "Questions about one invoice that may differ from it in a day, whoever asks; from then "
            "on such a question is answered as if there were no such invoice. Who has it right "
            "gets his match, so limits and what is noticed of guessers are what slows down who "
            "tries all check codes. By default ten people may mistype twice.",
            ge=1,
        ),
    ] = 20
    expose_ledger: Annotated[
        Literal["on", "off"],
        _bound(
            "Whether `/v1/ledger/*` answers on a host that others can reach while `VERIFIER_AUTH` "
            "is `off`. On a loopback address, and with keys, it always does. Without keys, whoever "
            "reaches it can write to the ledger: `on` is for a network that only feeders can reach."
        ),
    ] = "off"


class Logs(Section, frozen=True, kw_only=True):
    """What is logged."""

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
