"""The client of ``verifier check``: every question gets its answer, over cuts and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from random import random
from typing import Any

import aiohttp
import msgspec

from verifier.backoff import backoff
from verifier.cli.lines import Chunk
from verifier.errors import VerifierError

Answer = dict[str, Any]

ATTEMPTS = 5
# Silence, not slowness: a stream answers while it is being sent.
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)

_SEND_BYTES = 1 << 16
_RETRIED = frozenset({429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403})
# A service that wants us to wait longer is down: we ask again, and then say so.
_LONGEST_WAIT = 30.0
# A limit that is full for longer is no matter of a minute: to wait for it is not ours to decide.
_LONGEST_LIMIT = 120.0
_FIRST_WAIT = 0.25

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class GaveUp(VerifierError):
    """Some questions have no answer, and asking on would not help: says why."""

    code = "gave_up"


class Denied(VerifierError):
    """The service does not let us ask, and would not for any other question: says what to do."""

    code = "denied"


class _Cut(Exception):
    """A stream that did not reach its end; ``retry_after`` is in seconds, as long as we heed it."""

    def __init__(self, why: str, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Asker:
    """Asks a running service through ``POST /v1/verify/stream``.

    What was cut off and what was ``unavailable`` is asked again, until ``attempts`` streams in
    a row have brought nothing new; anything new starts the count again. ``why`` says what was
    wrong last. ``limited`` is called when the service says that we ask too much (429), with the
    seconds that it wants us to wait.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        key: str | None = None,
        attempts: int = ATTEMPTS,
        limited: Callable[[float], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/") + "/v1/verify/stream"
        self._headers = {"Content-Type": "application/x-ndjson"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._attempts = attempts
        self._limited = limited
        self._sleep = sleep
        self._jitter = jitter
        self._fruitless = 0
        self.why = ""

    async def answers(
        self, chunk: Chunk, answered: Callable[[], None] = lambda: None
    ) -> list[Answer | None]:
        """An answer to each line of the chunk, in order; its ``index`` is the line number - 1.

        None stands for a question that got no answer at all; a question that could not be
        checked keeps its ``unavailable``. ``answered`` is called at each final answer.
        Raises GaveUp when the service refuses to be asked like this, Denied when it refuses us.
        """
        results: list[Answer | None] = [None] * len(chunk.lines)
        waiting = list(range(len(chunk.lines)))
        while waiting:
            left, pause = await self._round(chunk, waiting, results, answered)
            self._fruitless = 0 if len(left) < len(waiting) else self._fruitless + 1
            waiting = left
            if not waiting or self._fruitless >= self._attempts:
                break
            ours = backoff(self._fruitless + 1, _FIRST_WAIT, _LONGEST_WAIT, self._jitter())
            await self._sleep(max(pause, ours))
        return results

    async def _round(
        self,
        chunk: Chunk,
        waiting: Sequence[int],
        results: list[Answer | None],
        answered: Callable[[], None],
    ) -> tuple[list[int], float]:
        """Ask what waits, once: what still waits, and for how long to leave the service alone."""
        pause = 0.0
        left: list[int] = []
        place = 0
        try:
            async for answer in self._stream([chunk.lines[each] for each in waiting]):
                position = waiting[place]
                place += 1
                answer["index"] = chunk.numbers[position] - 1
                for hint in answer.get("hints", ()):
                    if "first_index" in hint:
                        hint["first_index"] = chunk.numbers[waiting[hint["first_index"]]] - 1
                results[position] = answer
                if answer["verdict"] == "unavailable":
                    self.why = "the service could not check them"
                    left.append(position)
                    told = float(answer.get("retry_after") or 0)
                    pause = max(pause, min(told, _LONGEST_WAIT))
                else:
                    answered()
        except _Cut as cut:
            self.why = str(cut)
            pause = max(pause, cut.retry_after)
        return left + list(waiting[place:]), pause

    async def _stream(self, lines: Sequence[bytes]) -> AsyncIterator[Answer]:
        """One stream: an answer a line, then the end. Raises _Cut where it breaks off."""
        count = 0
        try:
            async with self._session.post(
                self._url,
                data=_blocks(lines),
                headers=self._headers,
                timeout=TIMEOUT,
                read_bufsize=1 << 18,
            ) as response:
                await self._refused(response)
                async for text in response.content:
                    answer = _decode(text)
                    if "verdict" in answer:
                        count += 1
                        if count > len(lines):
                            raise GaveUp(f"{self._url} gave more answers than there were questions")
                        yield answer
                    elif answer.get("complete") is True and count == len(lines):
                        return
                    else:
                        raise _Cut("the service ended the stream early")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            # msgspec's DecodeError is a ValueError: half a line, cut off.
            raise _Cut(f"{self._url}: {str(error) or type(error).__name__}") from error
        raise _Cut("the stream was cut")

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        """Raise _Cut, GaveUp or Denied for an answer that is no stream."""
        if response.status == 200:
            return
        said = (await response.content.read(4096)).decode(errors="replace").strip()
        why = f"{self._url} answered {response.status} {response.reason}: {said}"
        if response.status in _DENIED:
            raise Denied(f"{why}; {self._remedy(response.status)}")
        if response.status not in _RETRIED:
            raise GaveUp(why)
        text = response.headers.get("Retry-After", "")
        after = float(text) if text.isdecimal() else 0.0
        if response.status != 429:
            raise _Cut(why, min(after, _LONGEST_WAIT))
        if after > _LONGEST_LIMIT:
            raise GaveUp(f"{why}; it wants to be asked again in {after:,.0f} s")
        self._limited(after)
        raise _Cut(why, after)

    def _remedy(self, status: int) -> str:
        """What to do about a 401 or 403."""
        if "Authorization" not in self._headers:
            return "it was asked without a key: --key FILE or VERIFIER_KEY gives one"
        shows = "`verifier keys list`, on the service's side, shows"
        if status == 401:
            return f"{shows} which keys there are: is that of --key or VERIFIER_KEY among them?"
        return f"{shows} what the key of --key or VERIFIER_KEY may do"


async def _blocks(lines: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The lines in pieces that are worth a write."""
    for block in _joined(lines):
        yield block


def _joined(lines: Sequence[bytes]) -> Iterator[bytes]:
    block = bytearray()
    for line in lines:
        block += line
        block += b"\n"
        if len(block) >= _SEND_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
