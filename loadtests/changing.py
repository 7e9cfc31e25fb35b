"""Invoices of a generator's own that change while they are asked about, and new ones.

They are fed before the run, so that questions about the ledger never meet them. Each has a history
(oracle.py): an answer is right when it shows a state that was not over for longer than the
staleness bound when the question was sent.
"""

from __future__ import annotations

import http.client
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, cycle, islice
from random import Random
from time import monotonic

import msgspec

from loadtests.generator.connections import Address
from loadtests.oracle import History, State
from loadtests.questions import Book, Question, Shown
from loadtests.requests import Caller, Request, fields_of
from loadtests.scenario import Traffic
from verifier.config import Config
from verifier.invoice.kinds import USABLE_STATUSES
from verifier.synthetic.ledger import Entry, Ledger
from verifier.synthetic.shapes import minimal

_INVOICES = 200
_FEEDS = 500
# Questions go to one of the last so many that changed.
_RECENT = 32

# Each state differs from the ones before, so that an old one is not taken for the newest.
_NEXT = {
    "normal": "partially_red_flushed",
    "partially_red_flushed": "red_flushed",
    "red_flushed": "normal",
}
_ACCEPTED: Shown = ("accepted",)


class NotFed(Exception):
    """The service has not taken the invoices of this scenario; the message says why."""


class Item(msgspec.Struct):
    """An invoice that changes; ``busy`` while a change of it is under way or in doubt."""

    invoice: Entry
    history: History
    busy: bool = False


class Changing:
    """The invoices of generator ``part``, and requests that ask about, change and bring some."""

    def __init__(self, book: Book, caller: Caller, part: int, parts: int, random: Random) -> None:
        self._caller = caller
        self._random = random
        self._bound = Config().staleness.max_staleness
        source = islice(_own(book), part, None, parts)
        self._items = [
            Item(invoice, History(_shown(invoice)))
            for invoice in (next(source) for _ in range(_INVOICES))
        ]
        self._new = source
        self._recent: deque[Item] = deque(self._items[:_RECENT], maxlen=_RECENT)

    def feed(self, address: Address) -> None:
        """Bring them into the ledger. NotFed when the service refuses."""
        body = b"".join(msgspec.json.encode(item.invoice) + b"\n" for item in self._items)
        connection = http.client.HTTPConnection(*address, timeout=30.0)
        headers = {"Content-Type": "application/x-ndjson", **fields_of(self._caller.headers)}
        try:
            connection.request("POST", "/v1/ledger/invoices", body, headers)
            response = connection.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotFed(f"the service does not take invoices: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise NotFed(f"the service does not take invoices: {response.status} {said[:300]!r}")

    def asked(self, traffic: Traffic) -> Iterator[Request]:
        """Questions about those that have just changed."""
        while True:
            item = self._recent[int(self._random.random() * len(self._recent))]
            history = item.history

            def right(
                said: Shown, sent: float, received: float, history: History = history
            ) -> bool:
                stale = history.staleness(said, sent, received)
                return stale is not None and stale <= self._bound

            question = Question(msgspec.json.encode(minimal(item.invoice)), right)
            yield self._caller.request(traffic, (question,))

    def changes(self, traffic: Traffic) -> Iterator[Request | None]:
        """Changes of state, of one invoice each; None while each waits for an answer to its last.

        One whose change was not acknowledged is in doubt: its change may come late, so that it is
        left alone from then on.
        """
        for item in self._turns():
            if item is None:
                yield None
                continue
            invoice = msgspec.structs.replace(item.invoice, status=_NEXT[item.invoice.status])
            item.invoice = invoice
            item.busy = True
            state = item.history.send(_shown(invoice), monotonic())
            self._recent.append(item)
            line = {"code": invoice.code, "number": invoice.number, "status": invoice.status}
            body = msgspec.json.encode(line)
            yield self._caller.request(traffic, (Question(body, _acknowledging(item, state)),))

    def new(self, traffic: Traffic) -> Iterator[Request]:
        """Lines about invoices that nobody has asked about; after _FEEDS requests the same again.

        Made beforehand: to make some hundred lines takes longer than a request may be late.
        """
        lines = (Question(msgspec.json.encode(invoice), _accepted) for invoice in self._new)
        return cycle(self._caller.requests(traffic, lines, _FEEDS))

    def _turns(self) -> Iterator[Item | None]:
        while True:
            free = [item for item in self._items if not item.busy]
            yield from free
            if not free:
                yield None


def _own(book: Book) -> Iterator[Entry]:
    """数电 invoices whose channel (the fifth digit) no ledger and no guess has: at most 8 there."""
    other = Ledger(book.rows, book.seed + 1, book.until)
    for row in count():
        invoice = other.invoice(row % book.rows)
        if len(invoice.number) == 20 and invoice.red_letter_of is msgspec.UNSET:
            number = f"{invoice.number[:4]}9{row:015d}"
            yield msgspec.structs.replace(invoice, number=number, status="normal")


def _shown(invoice: Entry) -> Shown:
    return "match", invoice.status, invoice.status in USABLE_STATUSES


def _accepted(said: Shown, _sent: float, _received: float) -> bool:
    return said == _ACCEPTED


def _acknowledging(item: Item, state: State) -> Callable[[Shown, float, float], bool]:
    def right(said: Shown, _sent: float, received: float) -> bool:
        if said != _ACCEPTED:
            return False
        state.acknowledged = received
        item.busy = False
        return True

    return right
