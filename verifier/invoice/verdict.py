"""Judge: what an answer says, from a claim and what the ledger holds (domain.md §1).

Most questions match, and most of those spell every field as the ledger does. ``agrees`` sees
that without parsing: a field that equals the ledger's canonical text byte for byte is thereby
valid and agreeing. Whatever it does not accept is parsed and judged in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from datetime import timezone as Timezone
from math import ceil
from sys import intern
from typing import ClassVar, Literal, get_args

import msgspec

from verifier.invoice import hints
from verifier.invoice.claim import Claim, Invalid, Question
from verifier.invoice.fields import MIN_TAX_ID, FieldError, oldest_date
from verifier.invoice.hints import Hint
from verifier.invoice.record import (
    ASKS_AMOUNT,
    ASKS_AMOUNT_AND_CHECK_CODE,
    ASKS_CHECK_CODE,
    ASKS_TOTAL,
    Held,
)
from verifier.invoice.taxids import fails_check
from verifier.invoice.watermarks import OLDEST
from verifier.state import Reading

VerdictName = Literal["match", "mismatch", "not_found", "pending", "invalid", "unavailable"]
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)

# China has kept one zone without daylight saving since 1991, and no invoice in scope is older.
SHANGHAI = Timezone(timedelta(hours=8))
DAY = 86_400

# A region without a watermark counts as complete until so many seconds ago.
UNSET_WATERMARK_AGE = DAY

# Seconds. A watermark may catch up in one step, so a caller is never sent away for longer.
LONGEST_RETRY = 3_600


class Window(msgspec.Struct, frozen=True):
    """The issue dates in scope on a day (ISO, Asia/Shanghai), and when it begins and ends."""

    oldest: str
    today: str
    days: frozenset[str]
    since: float
    until: float


def window_at(now: float) -> Window:
    """The window of the day that ``now`` (seconds since the epoch) is in."""
    moment = datetime.fromtimestamp(now, SHANGHAI)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    today = moment.date()
    oldest = date.fromisoformat(oldest_date(today))
    days = (oldest + timedelta(days=number) for number in range((today - oldest).days + 1))
    return Window(
        oldest.isoformat(),
        today.isoformat(),
        # Interned as in records, so that a day is found by its address.
        frozenset(intern(day.isoformat()) for day in days),
        midnight.timestamp(),
        midnight.timestamp() + DAY,
    )


class Judgement(msgspec.Struct, gc=False):
    """An answer with one of the six verdicts and all that may go with it.

    ``key`` is empty for a malformed question. ``reading`` is the state that the answer rests on, if
    any, and ``source`` is ``cache``, ``joined``, ``replica`` or ``primary``. ``reason`` says why it
    could not be checked; ``retry_after`` is in seconds. There are ``more_errors`` beside
    ``errors``. ``said`` is the claim's fingerprint if it differs.
    """

    verdict: VerdictName
    key: str = ""
    reference: str | None = None
    record: Held | None = None
    mismatched: tuple[str, ...] = ()
    errors: tuple[FieldError, ...] = ()
    more_errors: int = 0
    hints: tuple[Hint, ...] = ()
    reading: Reading | None = None
    source: str = ""
    stale: bool = False
    retry_after: int = 0
    reason: str = ""
    said: int = 0

    def hinted(self, *hints: Hint) -> Judgement:
        """The same with more hints."""
        self.hints += hints
        return self


class Match(msgspec.Struct, frozen=True, gc=False):
    """The answer that most questions get: a match without a hint.

    It holds what a Judgement of that kind needs, at a third of the cost.
    """

    key: str
    record: Held
    reading: Reading
    source: str
    reference: str | None

    verdict: ClassVar[VerdictName] = "match"
    hints: ClassVar[tuple[Hint, ...]] = ()
    stale: ClassVar[bool] = False

    def hinted(self, *hints: Hint) -> Judgement:
        """The same answer with hints, which makes it a Judgement."""
        return Judgement(
            "match",
            self.key,
            self.reference,
            record=self.record,
            hints=hints,
            reading=self.reading,
            source=self.source,
        )


# What a question is answered with.
Answer = Match | Judgement


def agrees(question: Question, record: Held, window: Window) -> bool:
    """True only if the question is well formed, agrees with the record, and calls for no hint.

    The record must be the one that the question's raw key names; such a question has no ``qr``.
    False means that it has to be parsed and judged in full.
    """
    issued, asks = record.date, record.traits.asks
    if question.date != issued or issued not in window.days:
        return False
    total, amount, check_code = question.total, question.amount, question.check_code
    if asks is ASKS_TOTAL:
        if total is None:
            return False
    elif asks is ASKS_CHECK_CODE:
        if check_code is None:
            return False
    elif asks is ASKS_AMOUNT:
        if amount is None:
            return False
    elif asks is not ASKS_AMOUNT_AND_CHECK_CODE or amount is None or check_code is None:
        return False
    if (
        (total is not None and total != record.total)
        or (amount is not None and amount != record.amount)
        or (check_code is not None and not _as_spelt(check_code, record.check_code))
        or (question.kind is not None and question.kind != record.traits.kind)
    ):
        return False
    seller, buyer = question.seller_tax_id, question.buyer_tax_id
    if seller is None and buyer is None:
        return True
    # The ledger admits ids that no question may have, which are shorter.
    return not (
        (
            seller is not None
            and (seller != record.seller_tax_id or len(seller) < MIN_TAX_ID or fails_check(seller))
        )
        or (
            buyer is not None
            and (buyer != record.buyer_tax_id or len(buyer) < MIN_TAX_ID or fails_check(buyer))
        )
    )


def disagreeing(
    questions: Sequence[Question], records: Sequence[Held | None], window: Window
) -> list[int]:
    """The indexes at which there is no record that the question agrees with (see ``agrees``)."""
    days, index = window.days, 0
    found: list[int] = []
    for question, record in zip(questions, records, strict=True):
        if record is None or not (
            # What nearly all ask, a number with its date and total, without a call for each.
            (
                question.total == record.total
                and question.date == (issued := record.date)
                and issued in days
                and record.traits.asks is ASKS_TOTAL
                and question.amount is None
                and question.check_code is None
                and question.kind is None
                and question.seller_tax_id is None
                and question.buyer_tax_id is None
            )
            or agrees(question, record, window)
        ):
            found.append(index)
        index += 1  # noqa: SIM113 - enumerate makes a pair of each, and takes a tenth longer
    return found


def _as_spelt(given: str, held: str) -> bool:
    """Whether a check code is what the ledger holds or its last six, character by character."""
    return bool(given) and (given == held or (len(given) == 6 and given == held[-6:]))


def complete_until(watermark: float | None, now: float) -> float:
    """Until when the ledger is complete for a region whose watermark is given (contract.md §4).

    Never beyond ``now``, the moment of the state that was read: with a watermark in the future,
    which plain SQL may have stored, invoices would be "not found" that are yet to be issued. Both
    are in seconds since the epoch.
    """
    if watermark is None:
        return now - UNSET_WATERMARK_AGE
    if watermark > now:
        return now
    return max(OLDEST, watermark)


def _end_of_day(day: str) -> float:
    """Midnight in Asia/Shanghai after an ISO date, in seconds since the epoch."""
    return datetime.fromisoformat(day).replace(tzinfo=SHANGHAI).timestamp() + DAY


def _same_check_code(given: str, held: str) -> bool:
    """All 20 digits when both have them, otherwise the last 6, in any case (domain.md §2)."""
    if len(given) == len(held):
        return given.lower() == held.lower()
    return min(len(given), len(held)) >= 6 and given[-6:] == held[-6:]


def _mismatched(claim: Claim, record: Held) -> Iterable[str]:
    """The supplied fields that differ, in alphabetical order."""
    if claim.amount is not None and claim.amount != record.amount:
        yield "amount"
    if claim.buyer_tax_id is not None and claim.buyer_tax_id != record.buyer_tax_id:
        yield "buyer_tax_id"
    if claim.check_code is not None and not _same_check_code(claim.check_code, record.check_code):
        yield "check_code"
    if claim.date != record.date:
        yield "date"
    if claim.kind is not None and claim.kind != record.traits.kind:
        yield "kind"
    if claim.seller_tax_id is not None and claim.seller_tax_id != record.seller_tax_id:
        yield "seller_tax_id"
    if claim.total is not None and claim.total != record.total:
        yield "total"


def judge(claim: Claim, record: Held | None, watermark: float) -> Judgement:
    """The verdict on a well-formed claim.

    ``watermark`` is until when the claim's region is complete (seconds since the epoch, see
    ``complete_until``); it must not be newer than the reading that found no record.
    """
    if record is None:
        missing = _end_of_day(claim.date) - watermark
        if missing <= 0:
            return Judgement("not_found", claim.key, claim.reference, hints=claim.hints)
        return Judgement(
            "pending",
            claim.key,
            claim.reference,
            hints=claim.hints,
            retry_after=ceil(min(missing, LONGEST_RETRY)),
        )
    differing = tuple(_mismatched(claim, record))
    if not differing:
        return Judgement("match", claim.key, claim.reference, record=record, hints=claim.hints)
    swapped = None
    if "amount" in differing or "total" in differing:
        swapped = hints.swapped_amounts(claim.amount, claim.total)
    return Judgement(
        "mismatch",
        claim.key,
        claim.reference,
        mismatched=differing,
        hints=claim.hints if swapped is None else (*claim.hints, swapped),
    )


def invalid(outcome: Invalid) -> Judgement:
    """The answer to a malformed question."""
    return Judgement(
        "invalid", errors=outcome.errors, more_errors=outcome.more_errors, hints=outcome.hints
    )
