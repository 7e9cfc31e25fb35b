"""Verifier: one question or many, from memory where it can, through the loader where it must.

Every item takes three steps: recall (memory, without parsing when it can be avoided), one load
for all that memory lacks, and a verdict. Nothing awaits after the load, but for giving way.
"""

from __future__ import annotations

from asyncio import sleep
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
from verifier.engine.calls import Loaded
from verifier.engine.duplicates import Duplicates
from verifier.engine.freshness import Freshness, Terms
from verifier.engine.loader import UNCHECKED, Loader
from verifier.engine.memory import Memory
from verifier.engine.steps import Steps
from verifier.errors import Unavailable
from verifier.invoice.claim import Claim, Item, raw_keys
from verifier.invoice.verdict import Answer, Match
from verifier.state import Position
from verifier.wire.blocks import Block
from verifier.wire.records import Finding

# Reads keys from a state that includes a position, by a deadline (steady clock).
FetchAt = Callable[[Sequence[str], Position, float], Awaitable[Mapping[str, Finding]]]

# What is answered from memory at a time: under half a millisecond with its encoding. A stream
# writes it at once, and larger writes cost less: 400 items instead of 125 are worth 5 % (P8).
ITEMS_PER_BLOCK = 400

# So many answers that are no matches from memory take as long. So many with hints take half of it:
# a batch that repeats one invoice has them throughout.
ANSWERS_PER_BLOCK = 125
HINTED_PER_BLOCK = 50

# What a request loads at a time: enough for several full queries, and a bound on what it has in
# the loader's queue.
ITEMS_PER_LOAD = 1_000

# Bulk gives way to other work after so many items that have to be parsed.
_PARSED_PER_TURN = 25

# What a Block has in place of an answer that has to be loaded: a key or a claim.
_UNREAD = (str, Claim)


class _Turns:
    """Counts items that were parsed, and gives way to other work after some of them."""

    def __init__(self) -> None:
        self._parsed = 0

    async def parsed(self) -> None:
        """One more was."""
        self._parsed += 1
        if not self._parsed % _PARSED_PER_TURN:
            await sleep(0)


class Verifier:
    """Answers questions; one per event loop.

    ``clocks.steady`` is the clock of ``Reading.as_of``. ``fetch_at`` reads a state that includes a
    position, past the loader.
    """

    def __init__(
        self,
        loader: Loader,
        fetch_at: FetchAt,
        memory: Memory,
        freshness: Freshness,
        clocks: Clocks,
    ) -> None:
        self._loader = loader
        self._fetch_at = fetch_at
        self._steps = Steps(memory, freshness, clocks)

    async def verify(
        self, item: Item, *, at_least: Position | None = None, deadline: float = inf
    ) -> Answer | Match:
        """The answer to one question; with ``at_least`` it rests on a state that includes it.

        No read begins for it after the deadline (steady clock).
        """
        steps = self._steps
        terms = steps.begin(at_least, deadline)
        block = steps.recall((item,), raw_keys((item,)), terms)
        if block.recalled:
            return block.answer(0)
        one: str | Claim | Answer = block.answers[0] or steps.look_closer(item, terms)
        if isinstance(one, Answer):
            return one
        key = one if isinstance(one, str) else one.key
        if at_least is None:
            outcome, joined = await self._loader.load_one(key, deadline)
        else:
            outcome, joined = (await self._fetch((key,), terms)).outcomes[key], False
        return steps.conclude(one, item, outcome, joined, terms)

    async def verify_many(
        self,
        items: Sequence[Item],
        *,
        at_least: Position | None = None,
        deadline: float = inf,
        duplicates: bool = False,
    ) -> AsyncGenerator[Block]:
        """The answers to many questions, in their order, each block as soon as it is there.

        With ``duplicates`` repeated invoices get a hint.
        """
        seen = Duplicates() if duplicates else None
        for first in range(0, len(items), ITEMS_PER_LOAD):
            part = items[first : first + ITEMS_PER_LOAD]
            keys = raw_keys(part)
            hinted = seen is not None and seen.expect(keys)
            size = HINTED_PER_BLOCK if hinted else ITEMS_PER_BLOCK
            terms = self._steps.begin(at_least, deadline)
            async for block in self._verify_part(part, keys, size, terms):
                if seen is not None:
                    seen.hint(block)
                yield block

    async def _verify_part(
        self, items: Sequence[Item], keys: Sequence[str], size: int, terms: Terms
    ) -> AsyncIterator[Block]:
        """As many as one load may have, in blocks of at most ``size``."""
        # That with the first answer that memory lacks, and all that come after it.
        waiting: list[Block] = []
        for start in range(0, len(items), size):
            end = start + size
            block = self._steps.recall(items[start:end], keys[start:end], terms)
            if block.recalled and not waiting:
                yield block
            else:
                waiting.append(block)
        if waiting:
            await self._complete(waiting, terms)
        for block in waiting:
            for part in (block,) if block.recalled else block.parts(ANSWERS_PER_BLOCK):
                yield part

    async def _complete(self, blocks: Sequence[Block], terms: Terms) -> None:
        """Put an answer in place of whatever memory did not match, by one load for all."""
        steps = self._steps
        turns = _Turns()
        for block in blocks:
            for index, one in enumerate(block.answers):
                if one is None:
                    block.answers[index] = steps.look_closer(block.items[index], terms)
                    await turns.parsed()
        unread = [one for block in blocks for one in block.answers if type(one) in _UNREAD]
        if not unread:
            return
        keys = dict.fromkeys([one if type(one) is str else one.key for one in unread])
        if terms.at_least is None:
            loaded = await self._loader.load(keys, terms.deadline, bulk=True)
        else:
            loaded = await self._fetch(keys, terms)
        outcomes, joined = loaded.outcomes, loaded.joined
        for block in blocks:
            answers, items = block.answers, block.items
            for index, one in enumerate(answers):
                if type(one) in _UNREAD:
                    key = one if type(one) is str else one.key
                    answer = answers[index] = steps.conclude(
                        one, items[index], outcomes[key], key in joined, terms
                    )
                    if type(answer) is not Match:
                        await turns.parsed()

    async def _fetch(self, keys: Collection[str], terms: Terms) -> Loaded:
        """What a state holds that includes the position of the terms, past the loader."""
        assert terms.at_least is not None
        try:
            found = await self._fetch_at(sorted(keys), terms.at_least, terms.deadline)
        except Unavailable as error:
            return Loaded(dict.fromkeys(keys, error), set())
        return Loaded({key: found.get(key, UNCHECKED) for key in keys}, set())
