"""Verifier: one question or many, from memory where it can, through the loader where it must.

Every item takes three steps: recall from memory (without parsing when it can be avoided), one load
for all that memory lacks, and a verdict. After the load nothing awaits I/O.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from math import inf

from verifier.clocks import Clocks
from verifier.engine.calls import TIMEOUT, UNCHECKED, Loaded, Told
from verifier.engine.drafts import Draft, Unread
from verifier.engine.duplicates import Duplicates
from verifier.engine.freshness import Freshness, Terms
from verifier.engine.laps import Laps
from verifier.engine.loader import Loader
from verifier.engine.memory import Memory
from verifier.engine.steps import Steps
from verifier.errors import Unavailable
from verifier.invoice.claim import Item, raw_keys
from verifier.invoice.verdict import Answer, Judgement, Match
from verifier.pacing import Pace
from verifier.state import Position
from verifier.wire.blocks import Block, Recalled
from verifier.wire.records import Finding

# The same as FetchMany from a state that includes a position.
FetchAt = Callable[[Sequence[str], Position, float], Awaitable[Mapping[str, Finding]]]

# Matches from memory that are encoded at a time, which takes under half a millisecond. A stream
# writes them at once, and larger writes cost less: 400 items instead of 125 are worth 5 % (P8).
ITEMS_PER_BLOCK = 400

# As many answers of other kinds take as long.
ANSWERS_PER_BLOCK = 125

# As many answers with hints take half as long. A batch that repeats one invoice is full of them.
HINTED_PER_BLOCK = 50

# What a request loads at a time: enough for several full reads, and a bound on what it has in the
# loader's queue.
ITEMS_PER_LOAD = 1_000

# So many items are parsed or judged before the clock is asked whether others are to have a turn:
# 0.05 ms of matches, 0.4 ms of the slowest.
_PER_LOOK = 25


class Asked(Told):
    """A question that waits for its read, of a caller that is no task."""

    __slots__ = ("_item", "_steps", "_terms", "_unread")

    def __init__(
        self,
        told: Callable[[Asked], object],
        steps: Steps,
        unread: Unread,
        item: Item,
        terms: Terms,
    ) -> None:
        # Not super(), which takes as long as the rest.
        Told.__init__(self, told, terms.deadline)
        self._steps = steps
        self._unread = unread
        self._item = item
        self._terms = terms

    def answer(self) -> Answer:
        """The answer, once the caller is told."""
        return self._steps.conclude(
            self._unread, self._item, self.outcome, self.joined, self._terms
        )


class Verifier:
    """Answers questions; one per event loop.

    ``clocks.steady`` is the clock of ``Reading.as_of``. ``fetch_at`` bypasses the loader, for
    questions that name a position. ``tried`` hears of each mismatch by its key, and says whether
    there were too many: then, as for ``discreet`` questions, it is answered as if there were no
    such invoice.
    """

    def __init__(
        self,
        loader: Loader,
        fetch_at: FetchAt,
        memory: Memory,
        freshness: Freshness,
        clocks: Clocks,
        tried: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._loader = loader
        self._fetch_at = fetch_at
        self._clock = clocks.steady
        self._steps = Steps(memory, freshness, clocks, tried)

    async def verify(
        self,
        item: Item,
        *,
        at_least: Position | None = None,
        deadline: float = inf,
        laps: Laps | None = None,
        discreet: bool = False,
    ) -> Answer:
        """The answer to one question; with ``at_least`` it rests on a state that includes it.

        No read begins for it after the deadline (steady clock). ``laps`` get the steps ``memory``,
        ``load`` and ``judge``, as far as there are any.
        """
        steps = self._steps
        terms = steps.begin(at_least, deadline, discreet=discreet)
        one = steps.recall_one(item, terms) or steps.look_closer(item, terms)
        if laps is not None:
            laps.end("memory")
        if isinstance(one, Answer):
            return one
        key = one if isinstance(one, str) else one.key
        if at_least is None:
            outcome, joined = await self._loader.load_one(key, deadline)
        else:
            outcome, joined = (await self._fetch((key,), terms)).outcomes[key], False
        if laps is None:
            return steps.conclude(one, item, outcome, joined, terms)
        laps.end("load")
        answer = steps.conclude(one, item, outcome, joined, terms)
        laps.end("judge")
        return answer

    def verify_soon(
        self,
        item: Item,
        told: Callable[[Asked], object],
        *,
        deadline: float = inf,
        discreet: bool = False,
    ) -> Answer | None:
        """The same for a caller that is no task: the answer, if nothing has to be read for it.

        Otherwise None, and ``told`` is called in a turn of the event loop of its own, as soon as
        its read returns.
        """
        steps = self._steps
        terms = steps.begin(None, deadline, discreet=discreet)
        one = steps.recall_one(item, terms) or steps.look_closer(item, terms)
        if isinstance(one, Answer):
            return one
        key = one if isinstance(one, str) else one.key
        refused = self._loader.load_soon(key, Asked(told, steps, one, item, terms))
        return None if refused is None else steps.conclude(one, item, refused, False, terms)

    def recall_match(self, item: Item) -> Match | None:
        """The answer to one question, if it is a match from memory, which costs next to nothing."""
        one = self._steps.recall_one(item, self._steps.begin(None, inf))
        return one if isinstance(one, Match) else None

    async def verify_many(
        self,
        items: Sequence[Item],
        *,
        at_least: Position | None = None,
        deadline: float = inf,
        duplicates: bool = False,
        discreet: bool = False,
        pace: Pace,
    ) -> AsyncGenerator[Block]:
        """The answers to many questions, in their order, each block as soon as it is there.

        With ``at_least`` they rest on a state that includes it; no read begins after the deadline
        (steady clock). With ``duplicates`` an answer gets a hint when its invoice was asked about
        before. Others have their turns at the ``pace``, between blocks when its owner gives way.
        """
        seen = Duplicates() if duplicates else None
        for first in range(0, len(items), ITEMS_PER_LOAD):
            part = items[first : first + ITEMS_PER_LOAD]
            keys = raw_keys(part)
            hinted = seen is not None and seen.expect(keys)
            size = HINTED_PER_BLOCK if hinted else ITEMS_PER_BLOCK
            await pace.give_way()
            # Each load is a question of its own: the first one may have taken long.
            terms = self._steps.begin(at_least, deadline, discreet=discreet)
            async for block in self._verify_part(part, keys, size, terms, pace):
                yield block if seen is None else seen.hint(block)

    async def _verify_part(
        self, items: Sequence[Item], keys: Sequence[str], size: int, terms: Terms, pace: Pace
    ) -> AsyncIterator[Block]:
        """The answers to as many items as one load may have, in blocks of at most ``size``."""
        # From the first block on of which memory did not match all.
        waiting: list[Recalled | Draft] = []
        for start in range(0, len(items), size):
            end = start + size
            block = self._steps.recall(items[start:end], keys[start:end], terms)
            if isinstance(block, Recalled) and not waiting:
                yield block
            else:
                waiting.append(block)
                await pace.give_way()
        await self._complete([each for each in waiting if isinstance(each, Draft)], terms, pace)
        for each in waiting:
            if isinstance(each, Recalled):
                yield each
            else:
                for answered in each.blocks(ANSWERS_PER_BLOCK):
                    yield answered

    async def _complete(self, drafts: Sequence[Draft], terms: Terms, pace: Pace) -> None:
        """Answer whatever memory did not match, by one load for all."""
        steps = self._steps
        for draft in drafts:
            for number, index in enumerate(draft.unparsed):
                if not number % _PER_LOOK:
                    await pace.give_way()
                one = steps.look_closer(draft.items[index], terms)
                if isinstance(one, Judgement):
                    draft.answers[index] = one
                else:
                    draft.unread[index] = one.key
                    draft.claims[index] = one
        # In the order of the items.
        keys = dict.fromkeys(
            [draft.unread[index] for draft in drafts for index in sorted(draft.unread)]
        )
        if not keys:
            return
        if terms.at_least is None:
            loaded = await self._loader.load(keys, terms.deadline, bulk=True)
        else:
            loaded = await self._fetch(keys, terms)
        outcomes, joined = loaded.outcomes, loaded.joined
        for draft in drafts:
            answers, items, claims = draft.answers, draft.items, draft.claims
            for number, (index, key) in enumerate(draft.unread.items()):
                if not number % _PER_LOOK:
                    await pace.give_way()
                unread = claims.get(index, key)
                answers[index] = steps.conclude(
                    unread, items[index], outcomes[key], key in joined, terms
                )

    async def _fetch(self, keys: Collection[str], terms: Terms) -> Loaded:
        """Read a state that includes the position of the terms, past the loader."""
        assert terms.at_least is not None
        if self._clock() > terms.deadline:
            return Loaded(dict.fromkeys(keys, TIMEOUT), set())
        try:
            found = await self._fetch_at(sorted(keys), terms.at_least, terms.deadline)
        except Unavailable as error:
            return Loaded(dict.fromkeys(keys, error), set())
        return Loaded({key: found.get(key, UNCHECKED) for key in keys}, set())
