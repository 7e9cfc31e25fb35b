"""The load: questions at a fixed rate, whatever becomes of them, and writers beside them.

The open loop of loadtests/generator: each question is sent at its moment, single or in a batch. It
runs in a thread of its own, so that what a test does to servers does not hold it up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import count
from random import Random
from time import monotonic, time

import msgspec

from loadtests.generator.connections import CUT, HUNG, UNREACHABLE, Reply
from loadtests.generator.loop import OpenLoop
from loadtests.oracle import State
from tests.faults.items import Item, Items, Result
from tests.faults.tally import Tally
from tests.faults.wire import request

# Between the service's clock and ours: answers round to milliseconds, and clocks are set.
_CLOCKS = 0.1
# How long a writer waits before it tries again (seconds); the outcome of its change is unknown.
_RETRY = 0.3
_WRITERS = 32
# A change that has no answer for so long is tried again.
_WRITER_PATIENCE = 4.0
# Connections, so few that questions wait for one when the service stalls, and so many requests on
# each that the load soon spreads over workers that were restarted.
_CONNECTIONS, _REQUESTS_EACH = 80, 300
# Of the changes, those after which somebody asks with the token at once.
_TOKENS = 0.3
# Of the single questions, those with the token of an earlier change, where a scenario wants them.
_EARLIER = 0.3


class Rates(msgspec.Struct, frozen=True):
    """Per second: single questions, batches of ``batch`` questions, changes of the ledger."""

    singles: float
    batches: float
    batch: int
    writes: float

    @property
    def questions(self) -> float:
        """Questions a second."""
        return self.singles + self.batches * self.batch


class _Batch(msgspec.Struct):
    results: list[Result]


class _Fed(msgspec.Struct):
    token: str
    accepted: int = 1
    unchanged: int = 0


_result = msgspec.json.Decoder(Result)
_batch = msgspec.json.Decoder(_Batch)
_fed = msgspec.json.Decoder(_Fed)


class Load:
    """Asks and writes as long as it runs; all in one loop."""

    def __init__(self, items: Items, rates: Rates, bound: float) -> None:
        self.items = items
        self.rates = rates
        self.bound = bound
        self.tally = Tally(bound)
        # How many times as many questions are asked as the rates say; changes are not.
        self.times = 1.0
        self.connections = _CONNECTIONS
        # Seconds from when each single question was due to its answer, as they came.
        self.taken: list[float] = []
        self.writing = True
        self.earlier_tokens = False
        # For a service that asks for keys; all that the load does needs a scope of it.
        self.key = ""
        self.requests_each = _REQUESTS_EACH
        self._random = Random(1)
        self._references = count()
        self._recent: deque[Item] = deque(maxlen=64)
        self._tokens: deque[str] = deque(maxlen=1_024)
        self._wall = time() - monotonic()
        self._loop: OpenLoop
        self._writes = 0

    def begin(self) -> Tally:
        """Count what is sent from now on anew."""
        self.tally = Tally(self.bound)
        return self.tally

    def run(self, port: int, stopped: Callable[[], bool]) -> None:
        """Ask and write until told to stop; returns when each question has come to its end."""
        rates = self.rates
        with OpenLoop(
            ("127.0.0.1", port), limit=self.connections, requests_each=self.requests_each
        ) as self._loop:
            for rate, act in (
                (lambda: rates.singles * self.times, self._ask_one),
                (lambda: rates.batches * self.times, self._ask_many),
                (lambda: rates.writes, self._change_one),
            ):
                self._loop.each(_steady(rate, stopped), act)
            # A change that is still tried then is left as one of which nobody knows.
            self._loop.run(lambda: stopped() and not self.tally.open)
        self._writes = 0

    def _pick(self) -> Item:
        """An item: often one that has just changed, else the popular ones more than others."""
        random, items = self._random.random, self.items
        which = random()
        if which < 0.35 and self._recent:
            return self._recent[int(random() * len(self._recent))]
        if which < 0.65:
            return items.changing[int(random() ** 3 * len(items.changing))]
        if which < 0.9:
            return items.steady[int(random() ** 2 * len(items.steady))]
        if which < 0.92:
            return items.watermarks[int(random() * len(items.watermarks))]
        if which < 0.94:
            return items.slow[int(random() * len(items.slow))]
        if which < 0.96:
            return items.coming[int(random() * len(items.coming))]
        return items.unknown()

    # Asking.

    def _ask_one(self, moment: float, item: Item | None = None, token: str = "") -> None:
        asked = item or self._pick()
        at_least = asked.history.newest if token else 0
        if not token and self.earlier_tokens and self._random.random() < _EARLIER:
            token = self._random.choice(self._tokens or [""])
        reference = next(self._references)
        tally = self._began(1, moment)
        data = request("POST", "/v1/verify", asked.asking(reference), token, self.key)
        self._loop.send(data, moment, partial(self._one, tally, moment, asked, reference, at_least))

    def _ask_many(self, moment: float) -> None:
        asked = [(self._pick(), next(self._references)) for _ in range(self.rates.batch)]
        tally = self._began(len(asked), moment)
        body = b",".join([item.asking(reference) for item, reference in asked])
        data = request("POST", "/v1/verify/batch", b'{"invoices":[%b]}' % body, key=self.key)
        self._loop.send(data, moment, partial(self._many, tally, moment, asked))

    def _began(self, questions: int, moment: float) -> Tally:
        tally = self.tally
        tally.asked += questions
        tally.latest = max(tally.latest, monotonic() - moment)
        return tally

    def _one(
        self, tally: Tally, moment: float, item: Item, reference: int, at_least: int, reply: Reply
    ) -> None:
        tally.slowest = max(tally.slowest, reply.received - moment)
        self.taken.append(reply.received - moment)
        if reply.status not in (200, 422, 503):
            self._nothing(tally, 1, reply)
            return
        result = _result.decode(reply.body)
        if reply.status == 200 and result.reference != str(reference):
            tally.misplace(1, f"{item.name}: {result.reference} for {reference}")
            return
        self._judge(tally, item, result, reply, at_least)

    def _many(
        self, tally: Tally, moment: float, asked: Sequence[tuple[Item, int]], reply: Reply
    ) -> None:
        tally.slowest = max(tally.slowest, reply.received - moment)
        if reply.status == 503:
            refusal = _result.decode(reply.body)
            for item, _ in asked:
                self._judge(tally, item, refusal, reply, 0)
            return
        if reply.status != 200:
            self._nothing(tally, len(asked), reply)
            return
        results = _batch.decode(reply.body).results
        if [result.reference for result in results] != [str(number) for _, number in asked]:
            tally.misplace(len(asked), f"a batch of {len(asked)} with {len(results)} results")
            return
        for (item, _), result in zip(asked, results, strict=True):
            self._judge(tally, item, result, reply, 0)

    def _nothing(self, tally: Tally, questions: int, reply: Reply) -> None:
        tally.trouble(reply.received)
        if reply.status in (CUT, UNREACHABLE):
            tally.cut += questions
        elif reply.status == HUNG:
            tally.hung += questions
        else:
            tally.misplace(questions, f"status {reply.status}: {reply.body[:200]!r}")

    def _judge(self, tally: Tally, item: Item, result: Result, reply: Reply, at_least: int) -> None:
        """Count one answer, and hold it against the oracle."""
        shown = item.shown(result)
        if shown == "unavailable":
            tally.unavailable += 1
            tally.reasons[result.reason] += 1
            tally.trouble(reply.received)
            return
        tally.answered += 1
        tally.verdicts[result.verdict or result.code] += 1
        stale = item.history.staleness(shown, reply.sent, reply.received, at_least)
        if stale is None or stale > tally.bound:
            what = "never" if stale is None else f"{stale:.3f} s before it was asked"
            self._wrong(tally, item, shown, f"right {what}", reply, at_least)
            return
        tally.stalest = max(tally.stalest, stale)
        if result.freshness.source:
            tally.sources[result.freshness.source] += 1
            as_of = datetime.fromisoformat(result.freshness.as_of).timestamp() - self._wall
            older = item.history.staleness(shown, as_of, reply.received)
            if older is None or older > _CLOCKS:
                self._wrong(tally, item, shown, f"by {older} s older than it says", reply, 0)

    def _wrong(
        self, tally: Tally, item: Item, shown: str, why: str, reply: Reply, at_least: int
    ) -> None:
        tally.wrong += 1
        states = [
            f"{state.shown} [{state.sent - reply.sent:.3f}, {state.acknowledged - reply.sent:.3f}]"
            for state in item.history.states[-4:]
        ]
        tally.quote(f"{item.kind} {item.name}: {shown!r} was {why} (>= {at_least}); {states}")

    # Writing.

    def _change_one(self, moment: float) -> None:
        if not self.writing or self._writes >= _WRITERS:
            return
        random, items = self._random.random, self.items
        which = random()
        if which < 0.1:
            item = items.coming[int(random() * len(items.coming))]
        elif which < 0.15:
            item = items.watermarks[int(random() * len(items.watermarks))]
        else:
            item = items.changing[int(random() ** 2 * len(items.changing))]
        if not item.busy and not item.retired:
            item.busy = True
            self._writes += 1
            write = self.items.next_write(item)
            state = item.history.send(write.shown, monotonic())
            self._recent.append(item)
            data = request(write.method, write.path, write.body, key=self.key)
            self._write(item, state, data, moment)

    def _write(self, item: Item, state: State, data: bytes, moment: float) -> None:
        """Try one change, again and again until it is acknowledged."""
        tally = self.tally

        def done(reply: Reply) -> None:
            if reply.status == 200:
                self._written(item, state, tally, reply)
                return
            tally.unwritten += 1
            if reply.status not in (CUT, HUNG, UNREACHABLE, 503):
                tally.misplace(0, f"{data[:60]!r}: {reply.status} {reply.body[:200]!r}")
            item.retired = True
            self._loop.at(monotonic() + _RETRY, lambda now: self._write(item, state, data, now))

        self._loop.send(data, moment, done, _WRITER_PATIENCE)

    def _written(self, item: Item, state: State, tally: Tally, reply: Reply) -> None:
        fed = _fed.decode(reply.body)
        if fed.accepted + fed.unchanged != 1:
            tally.misplace(0, f"{item.name}: {reply.body[:200]!r}")
        state.acknowledged = reply.received
        tally.written += 1
        self._writes -= 1
        item.busy = False
        self._tokens.append(fed.token)
        if item.kind == "new":
            self.items.appear(item)
        if self._random.random() < _TOKENS:
            self._ask_one(monotonic(), item, fed.token)


def _steady(rate: Callable[[], float], stopped: Callable[[], bool]) -> Iterator[float]:
    """The moments of a rate, which may change at any time, until told to stop."""
    moment = monotonic()
    while not stopped():
        moment += 1.0 / rate()
        yield moment
