"""The shapes of what the service returns, for OpenAPI. Long because each shape is listed, once.

Tests hold the encoder to them. Answers are put together from bytes (answers.py), never from these.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from verifier.invoice.kinds import KINDS, STATUSES
from verifier.invoice.names import MAX_ERRORS, MAX_LISTED
from verifier.invoice.record import MAX_SHOWN
from verifier.invoice.verdict import VERDICTS

Kind = Annotated[str, Meta(extra_json_schema={"enum": list(KINDS)})]
Status = Annotated[str, Meta(extra_json_schema={"enum": list(STATUSES)})]
Money = Annotated[str, Meta(pattern=r"^-?\d{1,11}\.\d{2}$", description="Yuan, two decimals")]
Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="In Asia/Shanghai")]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Id = Annotated[str, Meta(description="Unique to this answer")]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    pass


class Identity(_Strict):
    """An invoice's identity; ``code`` is empty with a 20-digit number."""

    code: str
    number: str


class Invoice(_Strict):
    """What the ledger holds; only an answer whose verdict is ``match`` shows it."""

    kind: Kind
    code: str
    number: str
    date: Date
    region: Annotated[str, Meta(pattern=r"^\d{4}$")]
    amount: Money
    tax: Money
    total: Money
    seller_tax_id: str
    seller_name: str
    buyer_tax_id: str
    buyer_name: str
    red_letter_of: Identity | None
    red_letters: Annotated[
        list[Identity], Meta(max_length=MAX_SHOWN, description=f"The first {MAX_SHOWN}")
    ]
    red_letters_count: (
        Annotated[int, Meta(description="How many there are; only when not all are listed")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class Hint(_Strict):
    """Does not change the verdict."""

    code: Literal[
        "repaired",
        "qr_checksum",
        "number_year",
        "tax_id_check_digit",
        "kind_differs_from_code",
        "duplicate_in_request",
        "swapped_amounts",
    ]
    field: str
    message: Annotated[str, Meta(description="In the language of Accept-Language")]
    first_index: (
        Annotated[int, Meta(description="With duplicate_in_request")] | msgspec.UnsetType
    ) = msgspec.UNSET


class Freshness(_Strict):
    """The state of the ledger that the answer rests on."""

    as_of: Moment
    source: Literal["cache", "joined", "replica", "primary"]
    stale: bool


class FieldError(_Strict):
    """One bad field; ``field`` is empty when the item as a whole is no JSON object or too long."""

    field: str
    code: Literal[
        "required",
        "bad_format",
        "bad_length",
        "out_of_range",
        "unknown_region",
        "date_in_future",
        "out_of_window",
        "unknown_kind",
        "kind_needed",
        "unknown_field",
        "duplicate_field",
        "not_applicable",
        "unknown_invoice",
    ]
    message: str
    expected: Annotated[str, Meta(description="With unknown_field the field that is meant, if any")]


Errors = Annotated[
    list[FieldError], Meta(min_length=1, max_length=MAX_ERRORS, description="Sorted by field")
]
MoreErrors = Annotated[
    int, Meta(ge=1, description="How many errors are not listed; absent when all are")
]

Index = Annotated[int, Meta(ge=0, description="The item's place; in batches and streams only")]


class _Item(_Strict, kw_only=True):
    id: Id
    reference: str | None
    hints: list[Hint]
    index: Index | msgspec.UnsetType = msgspec.UNSET


class Match(_Item, tag_field="verdict", tag="match"):
    """一致: found, and everything supplied agrees."""

    status: Status
    usable: Annotated[bool, Meta(description="normal or partially_red_flushed")]
    invoice: Invoice
    freshness: Freshness


class Mismatch(_Item, tag_field="verdict", tag="mismatch"):
    """不一致: found, but at least one supplied field differs."""

    mismatched: Annotated[list[str], Meta(min_length=1, description="Field names, sorted")]
    freshness: Freshness


# Absent for a key without `explain`: it would tell whether the invoice is there.
_Told = Freshness | msgspec.UnsetType


class NotFound(_Item, tag_field="verdict", tag="not_found"):
    """查无此票: the ledger is complete for that region and date, and it is not there.

    To a key without the scope `explain`: there is no invoice that says so.
    """

    freshness: _Told = msgspec.UNSET


RetryAfter = Annotated[int, Meta(ge=1, description="Seconds")]


class Pending(_Item, tag_field="verdict", tag="pending"):
    """未同步: not there, but the ledger is not yet complete for that region and date."""

    retry_after: RetryAfter
    freshness: _Told = msgspec.UNSET


class Invalid(_Item, tag_field="verdict", tag="invalid"):
    """输入有误: the question is malformed."""

    errors: Errors
    more_errors: MoreErrors | msgspec.UnsetType = msgspec.UNSET


class Unavailable(_Item, tag_field="verdict", tag="unavailable"):
    """暂不可用: could not be checked; says nothing about the invoice."""

    reason: str
    retry_after: RetryAfter


class Limit(_Strict):
    """One limit, and what this worker has left of it."""

    policy: Literal["key", "tenant"]
    rate: Annotated[float, Meta(gt=0, description="Units a second; a question is one")]
    burst: Annotated[int, Meta(ge=0, description="Units that may come at once")]
    remaining: Annotated[int, Meta(ge=0)]
    reset: Annotated[float, Meta(ge=0, description="Seconds until all is there again")]


class Limits(_Strict):
    """What a caller may do."""

    tenant: str
    key: Annotated[str, Meta(description="The label of the key")]
    scopes: list[str]
    expires_at: str | None
    held_back: Annotated[bool, Meta(description="For questions like those of who guesses")]
    limits: list[Limit]


Answer = Match | Mismatch | NotFound | Pending
Result = Match | Mismatch | NotFound | Pending | Invalid | Unavailable


class Matches(_Strict):
    """How many of the matches may be used, and how many may not for their status."""

    usable: Annotated[int, Meta(description="normal or partially_red_flushed")]
    voided: int
    red_flushed: int
    red_letter: int


class Summary(_Strict):
    """How many results of each verdict."""

    match: int
    mismatch: int
    not_found: int
    pending: int
    invalid: int
    unavailable: int
    matches: Matches


class BatchAnswer(_Strict):
    """Exactly one result per item, in request order."""

    results: list[Result]
    summary: Summary


class StreamEnd(_Strict):
    """The last line of a stream; a client that does not see it knows that the stream was cut."""

    summary: Summary
    complete: bool
    reason: Literal["broken_body", "closing", "idle_timeout", "revoked_key"] | msgspec.UnsetType = (
        msgspec.UNSET
    )


class Problem(msgspec.Struct, kw_only=True):
    """RFC 9457. Problems of a single question carry the members of its result as well.

    ``id`` is in the service's log too; of problems that the server itself finds (docs/http.md).
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    id: str | msgspec.UnsetType = msgspec.UNSET
    errors: Errors | msgspec.UnsetType = msgspec.UNSET
    more_errors: MoreErrors | msgspec.UnsetType = msgspec.UNSET
    retry_after: RetryAfter | msgspec.UnsetType = msgspec.UNSET


class Rejected(_Strict):
    """A line that was not accepted; ``line`` counts from 1."""

    line: int
    errors: Errors
    more_errors: MoreErrors | msgspec.UnsetType = msgspec.UNSET


class Fed(_Strict):
    """What became of the lines of one request; all accepted ones were committed together."""

    accepted: int
    unchanged: int
    rejected: Annotated[
        list[Rejected], Meta(description=f"The first lines, with {MAX_LISTED} errors in all")
    ]
    rejected_count: int
    token: Annotated[str, Meta(description="For the Consistency-Token header of a question")]


class NothingAccepted(Problem, kw_only=True):
    """A feed of which no line was accepted and none unchanged."""

    accepted: Literal[0]
    unchanged: Literal[0]
    rejected: list[Rejected]
    rejected_count: int
    token: str


class UsageDay(_Strict):
    """How many questions an endpoint answered so on a day."""

    day: Date
    endpoint: Annotated[str, Meta(description="verify, batch or stream")]
    verdict: Annotated[str, Meta(extra_json_schema={"enum": list(VERDICTS)})]
    questions: Annotated[int, Meta(ge=1)]


class Usage(_Strict):
    """What a tenant has asked, by day, endpoint and verdict; refused requests are not counted."""

    tenant: str
    first: Annotated[Date, Meta(description="The first day")] = msgspec.field(name="from")
    last: Annotated[Date, Meta(description="The last day")] = msgspec.field(name="to")
    days: list[UsageDay]
    total: int
    as_of: Annotated[
        Moment | None,
        Meta(
            description="When a process of the service last wrote what it had counted; what others "
            "counted in the seconds before may be missing"
        ),
    ]


class Watermark(_Strict):
    """The ledger holds everything that the region issued before this moment."""

    complete_until: Moment


class WatermarkSet(_Strict):
    """The watermark as stored."""

    region: str
    complete_until: Moment
    moved_back: Annotated[bool, Meta(description="Whether the region was complete until later")]
    token: str


class Database(_Strict):
    """One database as its last probe saw it."""

    name: str
    role: Literal["primary", "replica", "unknown"]
    serving: bool
    lag_bytes: int | None
    lag_seconds: float | None


class RegionFreshness(_Strict):
    """Until when a region is complete; ``set`` is false for the default of 24 hours ago."""

    region: str
    name: str
    complete_until: Moment
    set: bool


class FreshnessReport(_Strict):
    """Watermarks by region, lag by database.

    ``trusted`` is false when no database shows a state within the staleness bound: what is asked
    then is ``unavailable``.
    """

    trusted: bool
    regions: list[RegionFreshness]
    databases: list[Database]
