"""The front desk changes nothing: whatever a client sends, it gets the bytes that it got before.

``STREAMS=1000000 make test TESTS=tests/api/test_desk_alike.py`` sends as many streams as one likes.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.samples import bodies
from tests.api import keyed
from tests.api.smuggling import BODY, CORPUS
from tests.api.twins import Sent, Twins
from verifier.access.keyring import Keyring

STREAMS = int(os.environ.get("STREAMS", "2000"))
KEYED_STREAMS = STREAMS // 2

_FOUND = msgspec.json.decode(bodies()[0])
QUESTIONS = [
    *bodies()[:6],
    msgspec.json.encode({**_FOUND, "number": "24312000000099999999"}),  # not there
    msgspec.json.encode({**_FOUND, "total": "0.01"}),  # another amount
    msgspec.json.encode({**_FOUND, "date": "2031-01-01"}),  # in the future
    b"{\r\n\r\n" + bodies()[0][1:],  # with an empty line of its own
    b'{"code":"","number":"1"}',
    b'{"number":',
    b"[]",
    b"{}",
    b" ",
    bodies()[0] + b" " * 70_000,  # more than a body may have
]
HOST = b"Host: x"
FIELDS = [
    HOST,
    b"Content-Type: application/json",
    b"Accept-Language: en",
    b"accept-language: zh-CN,zh;q=0.9",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Expect: 100-continue",
    b"Content-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Consistency-Token: none of ours",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"X-Request-Id: 1",
    b"Cookie: a=b",
    b"X-Odd: \xff\xfe",
    b"X-Folded: a\r\n b",
    b"Bad Name: x",
    b"Content-Length: 5",
    b"Content-Length: +5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: identity",
]
LINES = [
    b"POST /v1/verify HTTP/1.1",
    b"POST /v1/verify HTTP/1.0",
    b"POST /v1/verify?x=1 HTTP/1.1",
    b"POST http://x/v1/verify HTTP/1.1",
    b"POST /v1/verif%79 HTTP/1.1",
    b"GET /v1/verify HTTP/1.1",
    b"HEAD /v1/verify HTTP/1.1",
    b"POST /v1/verify/batch HTTP/1.1",
    b"POST /nowhere HTTP/1.1",
    b"POST /v1/verify HTTP/2.0",
    b"NONSENSE",
]


def request(line: bytes, fields: list[bytes], body: bytes, *, length: int | None = 0) -> bytes:
    """A request; ``length`` is what its Content-Length is off by, None for no such field."""
    head = [line, *fields]
    if length is not None:
        head.append(b"Content-Length: %d" % max(0, len(body) + length))
    if b"Transfer-Encoding: chunked" in fields:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


# The fields of a request that bring a key; none where nobody needs one.
Keys = Callable[[Random], list[bytes]]


def no_keys(_: Random) -> list[bytes]:
    """None."""
    return []


def some_key(random: Random) -> list[bytes]:
    """A good one mostly; one with a limit; one that is refused; none."""
    which = random.random()
    if which < 0.55:
        return [random.choice(keyed.GOOD_FIELDS)]
    if which < 0.75:
        return [random.choice(keyed.FEW_FIELDS)]
    return [random.choice(keyed.REFUSED_FIELDS)] if which < 0.95 else []


# What nearly all requests are like, so that heads come again and streams go on.
USUAL = [[HOST], FIELDS[:2], [HOST, FIELDS[2]], FIELDS[:5]]
BETWEEN = [b""] * 8 + [b"\r\n", b"\n", b"\r", b" ", b"\0", b"x"]
LENGTHS = [0, 0, 0, 1, -1, 40, None]
TURNS = [0, 1, 2, 5, 30, 30]


def any_request(random: Random, keys: Keys) -> bytes:
    """A usual request, one with something that the desk must leave to aiohttp, or an odd one."""
    pick, shape = random.choice, random.random()
    if shape < 0.5:
        return request(LINES[0], [*pick(USUAL), *keys(random)], pick(QUESTIONS[:-1]))
    if shape < 0.75:
        line = pick([LINES[0], LINES[0], LINES[1], LINES[6]])
        more = [pick(FIELDS[1:]) for _ in range(random.randint(1, 2))]
        return request(line, [HOST, *keys(random), *more], pick(QUESTIONS))
    fields = [pick(FIELDS) for _ in range(random.randint(0, 5))] + keys(random)
    return request(pick(LINES), fields, pick(QUESTIONS), length=pick(LENGTHS))


def _cut(random: Random, whole: bytes, ends: list[int]) -> int:
    """Anywhere, or in and about an empty line."""
    if ends and random.random() < 0.4:
        return min(random.choice(ends) + random.randint(0, 8), len(whole))
    return random.randint(0, len(whole))


def stream(random: Random, keys: Keys = no_keys) -> list[Sent]:
    """What a client sends: some requests, each in one piece, cut anywhere, or several a piece."""
    pick = random.choice
    parts = [any_request(random, keys) + pick(BETWEEN) for _ in range(random.randint(1, 5))]
    if random.random() < 0.5:
        return [Sent(part, pick(TURNS)) for part in parts]
    if random.random() < 0.3:
        # A request that looks whole, in the middle of another one that came with what was before.
        cut = random.randint(1, len(parts[-1]))
        known = request(LINES[0], [HOST, *keys(random)], pick(QUESTIONS))
        before, after = b"".join(parts[:-1]) + parts[-1][:cut], parts[-1][cut:]
        pieces = [before, known, after, known] if random.random() < 0.5 else [before, known]
        return [Sent(piece, pick(TURNS)) for piece in pieces if piece]
    whole = b"".join(parts)
    if len(whole) < 600 and random.random() < 0.5:
        return [Sent(whole[at : at + 1], 0) for at in range(len(whole))]
    ends = [at for at in range(len(whole)) if whole.startswith(b"\r\n\r\n", at)]
    cuts = sorted(_cut(random, whole, ends) for _ in range(random.randint(0, 6)))
    return [Sent(whole[a:b], pick(TURNS)) for a, b in pairwise([0, *cuts, len(whole)]) if a < b]


@pytest.fixture(scope="module")
def twins() -> Iterator[Twins]:
    """Run a server with a desk, and one without."""
    twins = Twins()
    yield twins
    twins.close()


def one(body: bytes = QUESTIONS[0]) -> bytes:
    """A usual request."""
    return request(LINES[0], [FIELDS[0]], body)


@settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.randoms(use_true_random=False), st.booleans())
def test_nothing_differs(twins: Twins, random: Random, half_close: bool) -> None:
    """Answers and the state of the connection are those of a server without a desk."""
    twins.alike(stream(random), half_close=half_close)


def test_nothing_differs_in_many_streams(twins: Twins) -> None:
    """The same without a search, which is thrice as fast; the seed of a failure is its number."""
    for seed in range(STREAMS):
        random = Random(seed)
        twins.alike(stream(random), half_close=random.random() < 0.3)


@pytest.mark.parametrize(
    ("pieces", "half_close"),
    [
        ([Sent(one(), 30)] * 5, False),
        ([Sent(one(QUESTIONS[6]), 0)] * 5, True),
        ([Sent(one() * 5, 0)], True),
    ],
    ids=["one by one", "without waiting", "in one piece"],
)
def test_nothing_differs_in_short(twins: Twins, pieces: list[Sent], half_close: bool) -> None:
    """What clients do."""
    twins.alike(pieces, half_close=half_close)


@pytest.mark.parametrize("name", CORPUS)
def test_smuggled_requests_are_read_as_before(twins: Twins, name: str) -> None:
    """However they are cut, behind heads that are known, and with a request behind them."""
    sent = CORPUS[name]
    end = sent.find(b"\r\n\r\n") + 4
    known = [Sent(one(BODY), 30)] * 3
    for cuts in ([], [1], [end], [end - 2], [end + 1], [end + 20], [len(sent) - 1]):
        ends = [0, *cuts, len(sent)]
        pieces = [Sent(sent[a:b], 1) for a, b in pairwise(ends) if a < b]
        twins.alike([*known, *pieces, Sent(one(BODY), 30)])
        twins.alike([*pieces, Sent(one(BODY) + one(), 30)], half_close=True)
    twins.alike([Sent(one(BODY) + sent + one(BODY), 30)])
    # Bytes that look like a whole request, in the middle of another one's head or body, which came
    # by itself or together with the end of a request before it.
    for before in (b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nX: ", sent[:end], sent[:-1]):
        twins.alike([*known, Sent(before, 1), Sent(one(BODY), 30), Sent(one(BODY), 30)])
        twins.alike([*known, Sent(one(BODY) + before, 30), *[Sent(one(BODY), 30)] * 2])
        twins.alike(
            [Sent(one(BODY)[:-5], 1), Sent(one(BODY)[-5:] + before, 30), *[Sent(one(BODY), 30)] * 2]
        )
    # Twice the same: the second time its head would be known, had the parser accepted it.
    twins.alike([Sent(sent, 30)] * 3)


QUESTION = QUESTIONS[0]
BATCH = b"POST /v1/verify/batch HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("space", [0, 1, 30])
def test_an_empty_line_that_is_cut_is_not_found_in_the_body(
    twins: Twins, cut: int, space: int
) -> None:
    """A piece that begins within it, and ends with a part of the next head, ends no message."""
    body = b"{" + b" " * space + b"\r\n\r\n" + QUESTION[1:]
    whole = one(body)
    end = whole.index(b"\r\n\r\n") + 4 - cut
    first, rest = whole[:end], whole[end:]
    # As much of the next head as makes the length right, counted from the wrong empty line.
    missing = len(body) - (len(rest) - rest.index(b"\r\n\r\n", cut) - 4)
    known = [Sent(one(), 30)]
    twins.alike([*known * 3, Sent(first, 1), Sent(rest + BATCH[:missing], 30), *known * 2])


TUNNEL = request(b"CONNECT x:1 HTTP/1.1", [HOST], b"", length=None)
OLD = request(LINES[1], [HOST, b"Connection: keep-alive"], BODY)


@pytest.mark.parametrize("first", [TUNNEL, OLD], ids=["a tunnel", "HTTP/1.0 that stays"])
def test_connections_that_have_changed_are_aiohttp_s(twins: Twins, first: bytes) -> None:
    """What comes behind is not read as HTTP/1.1 any more, or answered differently."""
    twins.alike([Sent(one(BODY), 30)] * 3)
    twins.alike([Sent(first, 30), *[Sent(one(BODY), 30)] * 2, Sent(first, 30)])
    twins.alike([Sent(first, 30)] * 4)


def test_the_desk_was_there(twins: Twins) -> None:
    """The comparison was one: one side answered at its desk, the other one never."""
    twins.alike([Sent(one(), 30)] * 4)
    name = "verifier_single_questions_total"
    assert twins.desk.value(name, way="desk") > 0
    assert twins.plain.value(name, way="desk") == 0


def test_both_count_alike(twins: Twins) -> None:
    """Answers, sources, durations and look-ups are counted the same, whichever way was taken."""
    names = (
        ("verifier_answers_total", {"endpoint": "verify", "verdict": "match"}),
        ("verifier_answers_total", {"endpoint": "verify", "verdict": "not_found"}),
        ("verifier_answers_total", {"endpoint": "verify", "verdict": "mismatch"}),
        ("verifier_answers_total", {"endpoint": "verify", "verdict": "invalid"}),
        ("verifier_answer_sources_total", {"source": "cache"}),
        ("verifier_answer_sources_total", {"source": "replica"}),
        ("verifier_cache_lookups_total", {"outcome": "hit"}),
        ("verifier_cache_lookups_total", {"outcome": "miss"}),
        (
            "verifier_request_duration_seconds_count",
            {"endpoint": "verify", "outcome": "answered"},
        ),
        ("verifier_request_duration_seconds_count", {"endpoint": "verify", "outcome": "invalid"}),
    )
    sides = twins.desk, twins.plain

    def counted() -> list[list[float]]:
        return [[side.value(name, **labels) for name, labels in names] for side in sides]

    for body in (QUESTIONS[0], QUESTIONS[6], QUESTIONS[7], QUESTIONS[8]):
        before = counted()
        twins.alike([Sent(one(body), 30)] * 4)
        by_desk, plainly = (
            [new - old for old, new in zip(*each, strict=True)]
            for each in zip(before, counted(), strict=True)
        )
        assert by_desk == plainly
        assert sum(by_desk) >= 8


class Keyed(NamedTuple):
    """Servers that ask for keys, and the keyrings that they have."""

    twins: Twins
    rings: list[keyed.Keys]

    def after(self, seconds: float) -> None:
        """Let time pass for the limits."""
        for ring in self.rings:
            ring.steady += seconds
            ring.wall += seconds


@pytest.fixture
def with_keys() -> Iterator[Keyed]:
    """Run both servers, each with the same keys."""
    rings: list[keyed.Keys] = []

    def ring() -> Keyring:
        rings.append(keyed.Keys())
        return rings[-1].keyring

    twins = Twins(ring)
    yield Keyed(twins, rings)
    twins.close()


def test_nothing_differs_with_keys(with_keys: Keyed) -> None:
    """Good ones, wrong ones, several at once and limits that are used up, in many streams."""
    statuses = Counter[bytes]()
    for seed in range(KEYED_STREAMS):
        random = Random(seed)
        pieces = stream(random, some_key)
        said = with_keys.twins.alike(pieces, half_close=random.random() < 0.3)
        statuses.update(re.findall(rb"HTTP/1\.1 (\d{3}) ", said))
        with_keys.after(random.random() / 2)
    # Each was there, or this would prove little.
    assert min(statuses[each] for each in (b"200", b"400", b"401", b"403", b"429")) > 10, statuses


def asking(field: bytes, body: bytes = QUESTION) -> bytes:
    """A usual request with a key."""
    return request(LINES[0], [HOST, field], body)


@pytest.mark.parametrize(
    "field",
    [*keyed.GOOD_FIELDS, *keyed.FEW_FIELDS, *keyed.REFUSED_FIELDS, b"X: none"],
)
def test_nothing_differs_with_a_key(with_keys: Keyed, field: bytes) -> None:
    """Again and again on one connection, of which the desk soon knows the head."""
    for body in (QUESTION, QUESTIONS[6], QUESTIONS[11], QUESTIONS[15]):
        with_keys.twins.alike([Sent(asking(field, body), 30)] * 6)
        with_keys.after(0.7)


def test_nothing_differs_when_a_known_key_is_revoked(with_keys: Keyed) -> None:
    """Between two requests with a head that the desk knows by heart."""
    (field, *_) = keyed.GOOD_FIELDS
    before = with_keys.twins.alike([Sent(asking(field), 30)] * 4)
    for ring in with_keys.rings:
        ring.put(keyed.GOOD, revoked=True, version=2)
    after = with_keys.twins.alike([Sent(asking(field), 30)] * 4)
    assert (before.count(b"HTTP/1.1 200"), after.count(b"HTTP/1.1 401")) == (4, 4)


def test_the_desk_was_there_with_keys(with_keys: Keyed) -> None:
    """It answered and denied; the other side never did at a desk."""
    desk, plain = with_keys.twins.desk, with_keys.twins.plain
    with_keys.twins.alike([Sent(asking(keyed.GOOD_FIELDS[0]), 30)] * 4)
    name = "verifier_single_questions_total"
    assert (desk.value(name, way="desk"), plain.value(name, way="desk")) == (4, 0)
    assert plain.value(name, way="aiohttp") == 4
