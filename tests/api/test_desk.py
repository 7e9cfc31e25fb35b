"""The front desk: what it answers, what it keeps, and what it relies on in aiohttp.

That it changes nothing of what a client sees: test_desk_alike.py.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from aiohttp.web_protocol import RequestHandler

from bench.samples import bodies
from tests.api.twins import OWN, Line, Side, rounds
from tests.support import no_shares
from verifier.access.callers import KeyState
from verifier.access.keyring import Keyring
from verifier.access.keys import Scope, checksum, digest
from verifier.api.server.desk import MAX_HEAD
from verifier.clocks import Clocks
from verifier.engine.drafts import Unread
from verifier.engine.steps import Steps
from verifier.invoice.verdict import Answer

ABSENT = b'{"number":"24312000000099999999","date":"2024-03-01","total":"1.00"}'
BROKEN = {"number": "24312000000088888888", "date": "2024-03-01", "total": "1.00"}


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    """Run a server with a desk."""
    side = Side(1_000)
    await side.start()
    yield side
    side.ledger.open.set()
    await side.runner.cleanup()


def asking(body: bytes = ABSENT, *fields: str) -> bytes:
    """A request in one piece."""
    head = ["POST /v1/verify HTTP/1.1", "Host: x", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def connected(side: Side) -> Line:
    """A connection that waits for a request."""
    line = Line(side)
    await rounds(2)
    return line


async def answered(line: Line, count: int = 1) -> None:
    """Return when so many answers have come."""
    async with asyncio.timeout(5):
        while line.said.count(b"HTTP/1.1 ") < count:
            await asyncio.sleep(0)
    # aiohttp waits for the next request a few rounds later.
    await rounds(5)


def ways(side: Side) -> tuple[int, int]:
    """How many questions took the desk's way, and aiohttp's."""
    desk, aiohttp = (
        side.value("verifier_single_questions_total", way=way) for way in ("desk", "aiohttp")
    )
    return int(desk), int(aiohttp)


def reading(line: Line) -> tuple[bool, int]:
    """Whether the server has stopped reading, and how much it has said."""
    return line.paused, len(line.said)


def waits(protocol: RequestHandler) -> bool:
    """Whether a connection waits for its next request."""
    return protocol._waiter is not None and not protocol._waiter.done()


async def ask(side: Side, *requests: bytes) -> bytes:
    """What is said to requests that come one after the other."""
    line = await connected(side)
    for number, request in enumerate(requests, 1):
        line.protocol.data_received(request)
        await answered(line, number)
    line.close()
    await rounds(2)
    return bytes(line.said)


async def test_a_head_is_kept_when_it_comes_again(side: Side) -> None:
    """What comes once leaves nothing behind."""
    await ask(side, asking())
    assert len(side.desk) == 0
    await ask(side, asking(), asking())
    assert len(side.desk) == 1
    assert ways(side) == (3, 0)


async def test_heads_that_differ_each_time_are_answered_too(side: Side) -> None:
    """Those of a balancer that gives each request an id push nothing out."""
    await ask(side, asking(), asking())
    await ask(side, *(asking(ABSENT, f"X-Request-Id: {number}") for number in range(50)))
    # The doorkeeper takes one for another now and then.
    assert len(side.desk) < 10
    assert ways(side) == (52, 0)


async def test_a_quick_client_comes_back_to_the_desk(side: Side) -> None:
    """Though it asks again before aiohttp waits for it; and so does its first question."""
    line = Line(side)
    line.protocol.data_received(asking())
    await answered(line)
    line.protocol.data_received(asking(ABSENT, "Server-Timing: 1"))
    async with asyncio.timeout(5):
        while line.said.count(b"HTTP/1.1 200 ") < 2:
            await asyncio.sleep(0)
    assert not waits(line.protocol)
    line.protocol.data_received(asking())
    await answered(line, 3)
    assert ways(side) == (2, 1)


async def test_an_error_about_a_quick_question_ends_its_connection(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that the transport gets to see: nobody waits for ever."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
    monkeypatch.setattr(Steps, "recall_one", Mock(side_effect=KeyError))
    line = Line(side)
    line.protocol.data_received(asking())
    await rounds(5)
    assert line.closed
    assert [type(what["exception"]) for what in reported] == [KeyError]


async def test_bytes_that_are_the_same_are_not_one(side: Side) -> None:
    """Python has one object for all bytes objects of one byte."""
    line = Line(side)
    for piece in (b"P", b"P", asking()[1:]):
        line.protocol.data_received(piece)
    await rounds(20)
    assert b" 400 Bad Request\r\n" in line.said


async def test_who_has_just_asked_is_not_silent(side: Side) -> None:
    """Others do not get the connection."""
    line = Line(side)
    assert line.protocol.asked_nothing()
    line.protocol.data_received(asking())
    assert not line.protocol.asked_nothing()
    line.close()
    await rounds(3)
    assert line.said == b""


async def test_bytes_that_nobody_is_about_to_wait_for_are_received_at_once(side: Side) -> None:
    """A body in pieces, and what is sent ahead while a request is under way, wait for nothing."""
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking(ABSENT, "Server-Timing: 1"))
    await rounds(10)
    line.protocol.data_received(asking())
    assert line.protocol._messages
    side.ledger.open.set()
    await answered(line, 2)
    side.server.drain()
    other = Line(side)
    other.protocol.data_received(asking())
    assert other.protocol._messages
    await answered(other)


async def test_a_quick_client_that_is_gone_is_not_answered(side: Side) -> None:
    """Nobody would get it."""
    line = Line(side)
    line.protocol.data_received(asking(b"{}"))
    line.close()
    await rounds(5)
    assert ways(side) == (0, 0)


@pytest.mark.parametrize("half_closes", [False, True])
async def test_what_a_quick_client_sends_in_pieces_is_put_together(
    side: Side, half_closes: bool
) -> None:
    """Whatever it does before its turn."""
    line = Line(side)
    request = asking()
    line.protocol.data_received(request[:50])
    line.protocol.data_received(request[50:])
    if half_closes:
        assert line.protocol.eof_received()
    await answered(line)
    assert line.said.count(b'"verdict":"not_found"') == 1


async def test_the_number_of_heads_is_bounded() -> None:
    """The oldest makes room."""
    side = Side(3)
    await side.start()
    for number in range(10):
        request = asking(ABSENT, f"User-Agent: {number}")
        await ask(side, request, request, request)
        assert len(side.desk) <= 3
    assert len(side.desk) == 3
    await side.runner.cleanup()


@pytest.mark.parametrize(
    "field",
    ["Authorization: Bearer s", "cookie: a=b", "X-API-Key: x", f"X: {'x' * MAX_HEAD}"],
)
async def test_secrets_and_long_heads_are_not_kept(side: Side, field: str) -> None:
    """They are answered, and forgotten."""
    await ask(side, *[asking(ABSENT, field)] * 4)
    assert len(side.desk) == 0
    assert ways(side) == (4, 0)


@pytest.mark.parametrize(
    "field",
    ["Content-Encoding: identity", "Server-Timing: 1", "Upgrade: h2c", "Connection: close"],
)
async def test_what_a_head_asks_for_besides_is_the_handler_s(side: Side, field: str) -> None:
    """The desk knows nothing of it."""
    for _ in range(3):
        await ask(side, asking(ABSENT, field))
    assert ways(side) == (0, 3)


async def test_a_connection_that_asked_for_another_protocol_stays_aiohttp_s(side: Side) -> None:
    """It parses what came behind such a request some time later, which nobody else gets to know."""
    upgrade = asking(ABSENT, "Connection: Upgrade", "Upgrade: websocket")
    await ask(side, asking(), asking(), upgrade, asking(), asking())
    assert ways(side) == (2, 3)


async def test_steps_are_timed_on_request(side: Side) -> None:
    """Server-Timing names the steps of a question that was read, and of one in memory."""
    found = bodies()[0]
    said = await ask(side, *[asking(found, "Server-Timing: 1")] * 3)
    timings = re.findall(rb"Server-Timing: ([^\r]+)", said)
    steps = [re.findall(rb"(\w+);dur=\d+\.\d{3}", timing) for timing in timings]
    assert steps[0] == [b"parse", b"memory", b"load", b"judge", b"write"]
    assert steps[-1] == [b"parse", b"memory", b"write"]


async def test_a_client_that_does_not_read_waits_as_any_other(side: Side) -> None:
    """Nothing is added to what it has not taken in yet."""
    await ask(side, asking(), asking())
    line = await connected(side)
    line.waiting = 1
    line.protocol.data_received(asking())
    await rounds(1)
    assert ways(side) == (2, 0)
    line.close()
    await rounds(2)


async def test_what_comes_behind_a_question_waits_for_its_turn(side: Side) -> None:
    """Answers never overtake; what comes meanwhile is parsed, as behind any other request."""
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking(ABSENT))
    await rounds(3)
    line.protocol.data_received(asking(bodies()[0])[:50])
    assert reading(line) == (False, 0)
    side.ledger.open.set()
    await answered(line)
    line.protocol.data_received(asking(bodies()[0])[50:])
    await answered(line, 2)
    assert re.findall(rb'"verdict":"(\w+)"', line.said) == [b"not_found", b"match"]


async def test_a_client_that_half_closes_gets_its_answer(side: Side) -> None:
    """The connection ends after the answer that was being made."""
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking())
    await rounds(3)
    assert line.protocol.eof_received()
    assert line.protocol.eof_received()
    await rounds(20)
    assert not line.closed
    side.ledger.open.set()
    await answered(line)
    assert line.closed


async def test_a_client_that_goes_is_forgotten(side: Side) -> None:
    """Its question is counted as it would be otherwise, and its connection is free."""
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking())
    await rounds(3)
    line.close()
    await rounds(2)
    side.ledger.open.set()
    async with asyncio.timeout(5):
        while ways(side) != (1, 0):
            await asyncio.sleep(0)
    assert not line.said
    assert len(side.crowd) == 0


async def test_a_shutdown_waits_for_the_answer(side: Side) -> None:
    """As for a request of aiohttp's; then the connection is closed."""
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking())
    await rounds(3)
    ending = asyncio.create_task(side.server.shutdown(5.0))
    await rounds(10)
    assert not ending.done()
    side.ledger.open.set()
    await answered(line)
    await ending
    assert line.closed


async def test_a_connection_whose_question_is_read_for_is_not_idle(side: Side) -> None:
    """The keep-alive timer, which may fire meanwhile, closes it only afterwards."""
    line = await connected(side)
    protocol = line.protocol
    side.ledger.open.clear()
    protocol._next_keepalive_close_time = 0.0
    protocol.data_received(asking())
    protocol._process_keepalive()
    assert not line.closed
    side.ledger.open.set()
    await answered(line)
    protocol._next_keepalive_close_time = 0.0
    protocol._process_keepalive()
    assert line.closed


async def test_a_keep_alive_that_is_shorter_than_a_read_cuts_nothing_off() -> None:
    """The timer fires while the question waits; the connection is closed after its answer."""
    side = Side(1_000, keepalive=0.05)
    await side.start()
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking())
    await asyncio.sleep(0.2)
    side.ledger.open.set()
    await answered(line)
    async with asyncio.timeout(5):
        while not line.closed:
            await asyncio.sleep(0.01)
    assert line.said.startswith(b"HTTP/1.1 200 OK")
    await side.runner.cleanup()


async def test_an_answer_that_cannot_be_made_ends_its_connection_alone(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours: the client does not wait for ever, and others are answered."""
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    conclude = Steps.conclude

    def broken(self: Steps, unread: Unread, *rest: Any) -> Answer:
        if unread == BROKEN["number"]:
            raise LookupError("broken")
        return conclude(self, unread, *rest)

    monkeypatch.setattr(Steps, "conclude", broken)
    line, other = await connected(side), await connected(side)
    line.protocol.data_received(asking(msgspec.json.encode(BROKEN)))
    other.protocol.data_received(asking())
    await answered(other)
    assert line.closed
    assert not line.said
    assert [type(each["exception"]) for each in told] == [LookupError]


async def test_a_connection_that_is_lost_while_it_asks_leaves_no_task(side: Side) -> None:
    """Nobody waits for its next request any more, and its answer is dropped."""
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking())
    await rounds(3)
    task = line.protocol._task_handler
    assert task is not None
    line.close()
    await rounds(5)
    assert task.done()
    side.ledger.open.set()
    await rounds(5)
    assert not line.said


async def test_a_thousand_requests_ahead_are_answered_in_their_order(side: Side) -> None:
    """One that waits for its read holds up what comes behind it, and no more is taken in."""
    line = await connected(side)
    side.ledger.open.clear()
    line.protocol.data_received(asking())
    await rounds(3)
    ahead = b"".join(
        asking(ABSENT.replace(b"}", b',"reference":"%d"}' % number)) for number in range(1_000)
    )
    line.protocol.data_received(ahead)
    assert line.paused
    side.ledger.open.set()
    await answered(line, 1_001)
    assert [int(each) for each in re.findall(rb'"reference":"(\d+)"', line.said)] == [*range(1_000)]


def test_what_the_desk_relies_on_is_in_aiohttp() -> None:
    """Attributes by their names, and what data_received asks of the parser."""
    slots = {name for each in RequestHandler.__mro__ for name in getattr(each, "__slots__", ())}
    assert slots >= {
        "_waiter", "_messages", "_parser", "_upgraded", "_request_count", "_request_in_progress",
        "_handler_waiter", "_next_keepalive_close_time", "_keepalive_timeout", "_loop",
    }  # fmt: skip
    received = inspect.getsource(RequestHandler.data_received)
    assert set(re.findall(r"self\._parser\.(\w+)", received)) == {"feed_data"}
    started = inspect.getsource(RequestHandler.start)
    assert set(re.findall(r"self\._parser\.(\w+)", started)) == {"message_consumed"}
    shutdown = inspect.getsource(RequestHandler.shutdown)
    assert "if self._request_in_progress:" in shutdown


async def test_a_connection_that_waits_has_a_pending_waiter(side: Side) -> None:
    """From a round after its last answer until its next request; not while one is answered."""
    line = await connected(side)
    protocol = line.protocol
    assert waits(protocol)
    side.ledger.open.clear()
    # By aiohttp's way.
    protocol.data_received(asking(ABSENT, "Server-Timing: 1"))
    await rounds(5)
    assert not waits(protocol)
    assert protocol._request_in_progress
    side.ledger.open.set()
    await answered(line)
    assert waits(protocol)


def offered(side: Side, endpoint: str) -> tuple[int, int]:
    """How many questions were asked, and how many of them were refused."""
    asked, refused = (
        side.value(f"verifier_{what}_questions_total", endpoint=endpoint)
        for what in ("offered", "refused")
    )
    return int(asked), int(refused)


async def test_what_is_offered_is_counted_whichever_way_it_takes(side: Side) -> None:
    """A question by the desk and past it, and each of a batch."""
    await ask(side, asking(), asking(ABSENT, "Server-Timing: 1"))
    assert offered(side, "verify") == (2, 0)
    batch = b'{"invoices":[%b]}' % b",".join(bodies()[:7])
    await ask(side, asking(batch).replace(b"/v1/verify", b"/v1/verify/batch", 1))
    assert offered(side, "batch") == (7, 0)


async def full(heads: int, monkeypatch: pytest.MonkeyPatch) -> Side:
    """A server that has no time for anything."""
    side = Side(heads)
    await side.start()
    side.admission.is_full = True
    monkeypatch.setattr(side.admission, "admits", lambda: False)
    monkeypatch.setattr(type(side.admission), "retry_after", 2)
    return side


@pytest.mark.parametrize("field", [(), ("Accept-Language: en",)])
async def test_a_refusal_is_the_same_at_the_desk_and_past_it(
    field: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nonsense is refused as well, not explained."""
    desk, without = await full(1_000, monkeypatch), await full(0, monkeypatch)
    said = [
        await ask(side, *[asking(ABSENT, *field)] * 3, asking(b"nonsense", *field))
        for side in (desk, without)
    ]
    assert OWN.sub(rb"\1", said[0]) == OWN.sub(rb"\1", said[1])
    assert said[0].count(b"HTTP/1.1 503 ") == said[0].count(b"\r\nRetry-After: 2\r\n") == 4
    assert said[0].count(b'"reason":"overloaded","retry_after":2}') == 4
    for side in (desk, without):
        refused = {"route": "verify", "code": "unavailable"}
        assert side.value("verifier_http_errors_total", **refused) == 4
        assert offered(side, "verify") == (4, 4)
        timed = {"endpoint": "verify", "outcome": "unavailable"}
        assert side.value("verifier_request_duration_seconds_count", **timed) == 4
        await side.runner.cleanup()


async def test_what_memory_has_is_answered_when_there_is_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A match costs no more than a refusal does; what would have to be looked into is refused."""
    side = Side(1_000)
    await side.start()
    known, other = bodies()[:2]
    await ask(side, *[asking(known)] * 3)
    monkeypatch.setattr(side.admission, "admits", lambda: False)
    differs = msgspec.json.encode({**msgspec.json.decode(known), "date": "2024-01-01"})
    said = await ask(side, asking(known), asking(other), asking(differs), asking(b"nonsense"))
    assert re.findall(rb"HTTP/1.1 (\d+) ", said) == [b"200", b"503", b"503", b"503"]
    assert said.count(b'"verdict":"match"') == 1
    assert offered(side, "verify") == (7, 3)
    await side.runner.cleanup()


async def test_a_question_that_is_too_large_is_not_read_when_there_is_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is refused with the others, though memory knows the answer."""
    side = Side(1_000)
    await side.start()
    known = bodies()[0]
    await ask(side, *[asking(known)] * 3)
    monkeypatch.setattr(side.admission, "admits", lambda: False)
    assert b"HTTP/1.1 503 " in await ask(side, asking(known + b" " * 70_000))
    await side.runner.cleanup()


async def test_a_refusal_tells_the_date_of_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are kept for no longer."""
    side = await full(1_000, monkeypatch)
    first = await ask(side, asking())
    side.clock.now += 1
    second = await ask(side, asking())
    assert re.search(rb"Date: [^\r]+:00 GMT", first)
    assert re.search(rb"Date: [^\r]+:01 GMT", second)
    await side.runner.cleanup()


async def test_no_batch_is_begun_without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before its body is read."""
    side = await full(1_000, monkeypatch)
    head = "POST /v1/verify/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    assert b"HTTP/1.1 503 " in await ask(side, head.encode())
    # As many as its length suggests.
    assert offered(side, "batch") == (10_000, 10_000)
    await side.runner.cleanup()


# -- keys

BODIES = ("0" * 30, "1" * 30)
KEYS = [f"ivk_live_{body}{checksum(body)}" for body in BODIES]


class Keyed(Side):
    """A server that asks for keys: two of a tenant's, known now and for a minute."""

    def __init__(self, heads: int = 1_000) -> None:
        self.steady = 0.0
        clocks = Clocks(lambda: self.steady, lambda: 1_800_000_000.0)
        self.keyring = Keyring((b"p" * 32,), clocks, no_shares(), bound=2.0, kept=60.0)
        super().__init__(heads, self.keyring)
        for number in range(len(KEYS)):
            self.change(number, 1)
        self.keyring.shown(0.0)

    def change(
        self,
        number: int,
        changed: int,
        *,
        scopes: frozenset[Scope] = frozenset({"verify", "explain"}),
        revoked: bool = False,
    ) -> None:
        """Let the worker hear what a key is now."""
        kept = digest(b"p" * 32, KEYS[number]).hex()
        self.keyring.put_key(KeyState(number, 1, kept, scopes, revoked=revoked), (1, changed))


@pytest.fixture
async def keyed() -> AsyncIterator[Keyed]:
    """Run a server with a desk that asks for keys."""
    side = Keyed()
    await side.start()
    yield side
    await side.runner.cleanup()


def bearing(number: int, *fields: str) -> bytes:
    """A request with a key."""
    return asking(ABSENT, f"Authorization: Bearer {KEYS[number]}", *fields)


@pytest.mark.parametrize("field", ["Authorization: Bearer", "X-API-Key:"])
async def test_a_head_with_a_good_key_is_kept(keyed: Keyed, field: str) -> None:
    """With the caller, so that nothing has to be hashed."""
    await ask(keyed, *[asking(ABSENT, f"{field} {KEYS[0]}")] * 3)
    assert [head.caller.id for head in keyed.desk._heads.values() if head.caller] == [0]
    assert ways(keyed) == (3, 0)


@pytest.mark.parametrize("field", ["Cookie: a=b", "X-Session: 1", "X-Auth-User: me"])
async def test_a_head_with_a_key_and_another_secret_is_not_kept(keyed: Keyed, field: str) -> None:
    """The key is known to hold; of the other nothing is known."""
    await ask(keyed, *[bearing(0, field)] * 4)
    assert len(keyed.desk) == 0
    assert ways(keyed) == (4, 0)


async def test_another_key_is_another_head(keyed: Keyed) -> None:
    """Though all else is the same: each has its own caller."""
    await ask(keyed, *[bearing(number) for number in (0, 1, 0, 1, 0, 1)])
    callers = [head.caller for head in keyed.desk._heads.values()]
    assert [caller.id for caller in callers if caller] == [0, 1]
    keyed.change(0, 2, revoked=True)
    said = await ask(keyed, bearing(0), bearing(1))
    assert re.findall(rb"HTTP/1.1 (\d+) ", said) == [b"401", b"200"]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"revoked": True}, b"401"), ({"scopes": frozenset({"explain"})}, b"403")],
)
async def test_a_head_that_is_kept_is_refused_with_its_key(
    keyed: Keyed, change: dict[str, Any], status: bytes
) -> None:
    """On the same connection, and the head is forgotten; as it would be asked without the desk."""
    line = await connected(keyed)
    for number in range(1, 4):
        line.protocol.data_received(bearing(0))
        await answered(line, number)
    assert len(keyed.desk) == 1
    keyed.change(0, 2, **change)
    line.protocol.data_received(bearing(0))
    await answered(line, 4)
    assert re.findall(rb"HTTP/1.1 (\d+) ", line.said) == [b"200"] * 3 + [status]
    assert len(keyed.desk) == 0
    line.close()
    await rounds(2)


async def test_a_head_that_is_kept_says_nothing_without_news(keyed: Keyed) -> None:
    """Whoever comes with it hears that the key cannot be looked up, and is not told it is wrong."""
    await ask(keyed, *[bearing(0)] * 3)
    keyed.steady = 60.0
    assert b'"reason":"keys_unknown"' in await ask(keyed, bearing(0))
    keyed.keyring.shown(60.0)
    assert b"HTTP/1.1 200 " in await ask(keyed, bearing(0))


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Authorization: Bearer ivk_live_x",),
        ("Authorization: Basic aTp2",),
        (f"Authorization: Bearer {KEYS[0]}", f"X-API-Key: {KEYS[1]}"),
        (f"Authorization: Bearer {KEYS[0]}", f"Authorization: Bearer {KEYS[1]}"),
        (f"Authorization: Bearer {KEYS[0][:-1]}x",),
    ],
)
async def test_a_head_without_one_good_key_is_refused_and_not_kept(
    keyed: Keyed, fields: tuple[str, ...]
) -> None:
    """However often it comes."""
    said = await ask(keyed, *[asking(ABSENT, *fields)] * 4)
    assert said.count(b"HTTP/1.1 401 ") == 4
    assert len(keyed.desk) == 0
    assert ways(keyed) == (0, 0)


async def test_a_key_that_is_sent_twice_is_one(keyed: Keyed) -> None:
    """A gateway may put into one field what came in the other."""
    await ask(keyed, *[bearing(0, f"X-API-Key: {KEYS[0]}")] * 3)
    assert len(keyed.desk) == 1
    assert ways(keyed) == (3, 0)


async def test_steps_are_not_timed_under_the_veil(keyed: Keyed) -> None:
    """A step more, or one less, would tell whether the invoice is there."""
    keyed.change(0, 2, scopes=frozenset({"verify"}))
    said = [await ask(keyed, bearing(number, "Server-Timing: 1")) for number in (0, 1)]
    assert all(each.startswith(b"HTTP/1.1 200 ") for each in said)
    assert [b"Server-Timing: " in each for each in said] == [False, True]
