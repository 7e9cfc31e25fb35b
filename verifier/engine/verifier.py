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
from typing import Any

import msgspec

from verifier.engine.duplicates import Duplicates
from verifier.engine.freshness import Freshness
from verifier.engine.loader import UNCHECKED, Loaded, Loader
from verifier.engine.memory import Memory
from verifier.engine.steps import Item, Open, Steps, Terms
from verifier.errors import Unavailable
from verifier.invoice.claim import raw_keys
from verifier.invoice.record import Finding, Position
from verifier.invoice.verdict import Answer, Match

# Reads keys from a state that includes a position.
FetchAt = Callable[[Sequence[str], Position], Awaitable[Mapping[str, Finding]]]

# What is answered from memory at a time: well under a tenth of a millisecond, and about 64 KiB of
# JSON, of which the records' part is still in the processor's cache then.
ITEMS_PER_BLOCK = 125

# What a request loads at a time: enough for several full queries, and a bound on what it has in
# the loader's queue.
ITEMS_PER_LOAD = 1_000

# Bulk gives way to other work after so many items that have to be parsed.
_PARSED_PER_TURN = 25


class Block(msgspec.Struct, frozen=True, gc=False):
    """Some answers in the order of their items; ``recalled``: all are matches from memory."""

    answers: list[Answer | Match]
    recalled: bool


class Verifier:
    """Answers questions; one per event loop.

    ``clock`` gives seconds since the epoch, is never set back, and is the clock of
    ``Reading.as_of``. ``fetch_at`` reads a state that includes a position, past the loader.
    """

    def __init__(
        self,
        loader: Loader,
        fetch_at: FetchAt,
        memory: Memory,
        freshness: Freshness,
        clock: Callable[[], float],
    ) -> None:
        self._loader = loader
        self._fetch_at = fetch_at
        self._steps = Steps(memory, freshness, clock)

    async def verify(self, item: Item, *, at_least: Position | None = None) -> Answer | Match:
        """The answer to one question; with ``at_least`` it rests on a state that includes it."""
        steps = self._steps
        terms = steps.begin(at_least)
        (recalled,), _ = steps.recall((item,), raw_keys((item,)), terms)
        one: Answer | Match | Open = recalled or steps.look_closer(item, terms)
        if not isinstance(one, Open):
            return one
        key = one.key
        if at_least is None:
            outcome, joined = await self._loader.load_one(key)
        else:
            outcome, joined = (await self._fetch((key,), at_least)).outcomes[key], False
        answers: list[Any] = [one]
        if steps.agree(answers, (0,), {key: outcome}, (key,) if joined else (), terms):
            return steps.conclude(one, outcome, joined, terms)
        match: Match = answers[0]
        return match

    async def verify_many(
        self, items: Sequence[Item], *, at_least: Position | None = None, duplicates: bool = False
    ) -> AsyncGenerator[Block]:
        """The answers to many questions, in their order, each block as soon as it is there.

        With ``duplicates`` repeated invoices get a hint.
        """
        seen = Duplicates() if duplicates else None
        for first in range(0, len(items), ITEMS_PER_LOAD):
            part = items[first : first + ITEMS_PER_LOAD]
            keys = raw_keys(part)
            if seen is not None:
                seen.expect(keys)
            async for block in self._verify_part(part, keys, at_least):
                if seen is not None:
                    seen.hint(block.answers)
                yield block

    async def _verify_part(
        self, items: Sequence[Item], keys: Sequence[str], at_least: Position | None
    ) -> AsyncIterator[Block]:
        """As many as one load may have."""
        terms = self._steps.begin(at_least)
        # What memory lacks and all that comes after it.
        waiting: list[Any] = []
        first = 0
        for start in range(0, len(items), ITEMS_PER_BLOCK):
            end = start + ITEMS_PER_BLOCK
            answers, plain = self._steps.recall(items[start:end], keys[start:end], terms)
            if plain and not waiting:
                yield Block(answers, recalled=True)
                first = end
            else:
                waiting += answers
        await self._complete(waiting, items[first:], terms)
        for start in range(0, len(waiting), ITEMS_PER_BLOCK):
            yield Block(waiting[start : start + ITEMS_PER_BLOCK], recalled=False)

    async def _complete(self, answers: list[Any], items: Sequence[Item], terms: Terms) -> None:
        """Put an answer in place of whatever memory did not match, by one load for all."""
        steps = self._steps
        closer = [index for index, one in enumerate(answers) if one is None]
        async for index in _in_turns(closer):
            answers[index] = steps.look_closer(items[index], terms)
        opened = [index for index, one in enumerate(answers) if type(one) is Open]
        if not opened:
            return
        keys = dict.fromkeys([answers[index].key for index in opened])
        if terms.at_least is None:
            loaded = await self._loader.load(keys, bulk=True)
        else:
            loaded = await self._fetch(keys, terms.at_least)
        outcomes, joined = loaded.outcomes, loaded.joined
        async for index in _in_turns(steps.agree(answers, opened, outcomes, joined, terms)):
            one = answers[index]
            answers[index] = steps.conclude(one, outcomes[one.key], one.key in joined, terms)

    async def _fetch(self, keys: Collection[str], at_least: Position) -> Loaded:
        """A state that includes a position, past the loader."""
        try:
            found = await self._fetch_at(sorted(keys), at_least)
        except Unavailable as error:
            return Loaded(dict.fromkeys(keys, error), set())
        return Loaded({key: found.get(key, UNCHECKED) for key in keys}, set())


async def _in_turns(indexes: Sequence[int]) -> AsyncIterator[int]:
    """The same, giving way to other work in between."""
    for turn, index in enumerate(indexes, 1):
        yield index
        if not turn % _PARSED_PER_TURN:
            await sleep(0)
