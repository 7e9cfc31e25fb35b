"""The client of ``verifier check``, against a service made by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence

import aiohttp
import pytest

from tests.cli.fake_service import FakeService, Turn
from verifier.cli.asking import Answer, Asker, Denied, GaveUp
from verifier.cli.lines import Chunk


def chunk(names: Sequence[str], numbers: Sequence[int] | None = None) -> Chunk:
    """Questions of these names."""
    lines = [json.dumps({"reference": name}).encode() for name in names]
    return Chunk(lines, list(numbers or range(1, len(names) + 1)), 100)


class Waits(list[float]):
    """A sleep that only notes for how long."""

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.append(seconds)


async def ask(
    service: FakeService,
    questions: Chunk,
    waits: Waits | None = None,
    attempts: int = 3,
    key: str | None = None,
) -> tuple[list[Answer | None], str]:
    """The answers, and what the asker says was wrong."""
    noted = Waits() if waits is None else waits
    async with service.serving(), aiohttp.ClientSession() as session:
        asker = Asker(session, service.url, key=key, attempts=attempts, sleep=noted.sleep)
        return await asker.answers(questions), asker.why


def names(answers: list[Answer | None]) -> list[str | None]:
    """What was answered."""
    return [answer["reference"] if answer else None for answer in answers]


async def test_answers_in_order() -> None:
    """Every question gets its answer, in order, over one request."""
    many = [f"q{index}" for index in range(5000)]
    service = FakeService()
    answers, _ = await ask(service, chunk(many))
    assert names(answers) == many
    assert [answer and answer["index"] for answer in answers] == list(range(5000))
    assert len(service.asked) == 1


async def test_cut_stream_goes_on_where_it_broke() -> None:
    """After a cut, asking goes on with the first question that has no answer."""
    service = FakeService([Turn(cut_after=2), Turn(cut_after=1, tail='{"verdict": "ma')])
    answers, _ = await ask(service, chunk("abcde"))
    assert names(answers) == list("abcde")
    assert service.asked == [["a", "b"], ["c"], ["d", "e"]]


async def test_incomplete_end_is_a_cut() -> None:
    """A summary that says it is not complete is no end, even after the last answer."""
    service = FakeService([Turn(complete=False), Turn()])
    answers, why = await ask(service, chunk("ab"))
    assert names(answers) == ["a", "b"]
    assert why == "the service ended the stream early"


async def test_unavailable_is_asked_again_when_told() -> None:
    """What could not be checked is asked again, alone, after the time that the service named."""
    service = FakeService([Turn(unavailable=frozenset("bd"))])
    waits = Waits()
    answers, _ = await ask(service, chunk("abcd"), waits)
    assert [answer and answer["verdict"] for answer in answers] == ["match"] * 4
    assert [answer and answer["index"] for answer in answers] == [0, 1, 2, 3]
    assert service.asked == [list("abcd"), ["b", "d"]]
    assert waits == [3.0]


async def test_unavailable_in_vain_stays_unavailable() -> None:
    """Asking again is bounded, and what stays unavailable is returned as such."""
    service = FakeService([Turn(unavailable=frozenset("b"))] * 9)
    answers, _ = await ask(service, chunk("ab"), attempts=3)
    assert [answer and answer["verdict"] for answer in answers] == ["match", "unavailable"]
    assert service.asked == [["a", "b"], ["b"], ["b"], ["b"]]


async def test_overload_is_waited_for() -> None:
    """A 503 before any answer is retried after the time in Retry-After."""
    service = FakeService([Turn(status=503)])
    waits = Waits()
    answers, _ = await ask(service, chunk("a"), waits)
    assert names(answers) == ["a"]
    assert waits == [7.0]


async def test_a_full_limit_is_waited_for_as_told() -> None:
    """A 429 is asked again when the service says, though that be longer than for a 503."""
    service = FakeService(
        [Turn(status=429, retry_after="60"), Turn(status=503, retry_after="60"), Turn(cut_after=1)]
    )
    waits, told = Waits(), list[float]()
    async with service.serving(), aiohttp.ClientSession() as session:
        asker = Asker(
            session, service.url, sleep=waits.sleep, jitter=lambda: 0.0, limited=told.append
        )
        assert names(await asker.answers(chunk("ab"))) == ["a", "b"]
    assert waits[:2] == [60.0, 30.0]
    assert told == [60.0]


async def test_a_limit_that_is_full_for_long_is_not_waited_for() -> None:
    """Whoever has used up a day's questions hears it at once, with the time."""
    service, waits = FakeService([Turn(status=429, retry_after="40000")]), Waits()
    with pytest.raises(GaveUp, match=r"answered 429 .* wants to be asked again in 40,000 s"):
        await ask(service, chunk("a"), waits)
    assert waits == []


async def test_every_request_has_the_key() -> None:
    """Those after a cut and a refusal as well; none has one when there is none."""
    service = FakeService([Turn(cut_after=1), Turn(status=503)])
    await ask(service, chunk("ab"), key="secret")
    assert service.keys == ["Bearer secret"] * 3
    service = FakeService()
    await ask(service, chunk("ab"))
    assert service.keys == [None]


@pytest.mark.parametrize(
    ("status", "key", "remedy"),
    [
        (401, None, "without a key: --key FILE or VERIFIER_KEY gives one"),
        (403, None, "without a key: --key FILE or VERIFIER_KEY gives one"),
        (401, "secret", "`verifier keys list`, on the service's side, shows which keys there are"),
        (403, "secret", "`verifier keys list`, on the service's side, shows what the key"),
    ],
)
async def test_who_is_denied_is_told_what_to_do(status: int, key: str | None, remedy: str) -> None:
    """At once, after what the service says of it; the key is not told."""
    service, waits = FakeService([Turn(status=status)] * 2), Waits()
    with pytest.raises(Denied) as caught:
        await ask(service, chunk("a"), waits, key=key)
    said = str(caught.value)
    assert f"/v1/verify/stream answered {status} " in said
    assert "as told" in said
    assert remedy in said
    assert "secret" not in said
    assert waits == []
    assert len(service.keys) == 1


async def test_who_is_denied_with_much_to_ask_is_told_too() -> None:
    """The refusal comes while most of the questions are still to be sent."""
    with pytest.raises(Denied, match="answered 401"):
        await ask(
            FakeService([Turn(status=401)]), chunk([f"q{each}" * 60 for each in range(9_000)])
        )


async def test_dead_service_is_given_up() -> None:
    """Where nobody listens, asking ends after the attempts, each after a longer wait."""
    waits = Waits()
    async with aiohttp.ClientSession() as session:
        asker = Asker(
            session, "http://127.0.0.1:1", attempts=4, sleep=waits.sleep, jitter=lambda: 1.0
        )
        assert await asker.answers(chunk("ab")) == [None, None]
    assert waits == [0.5, 1.0, 2.0]
    assert "127.0.0.1:1" in asker.why


async def test_refusal_is_not_repeated() -> None:
    """An answer that asking again cannot change ends it at once, with its text."""
    service = FakeService([Turn(status=404)])
    with pytest.raises(GaveUp, match=r"answered 404 .*as told"):
        await ask(service, chunk("a"))


async def test_line_numbers_survive_cuts() -> None:
    """``index`` and ``first_index`` are lines of the file, whatever request they came from."""
    questions = Chunk(
        [b'{"reference": "a"}', b'{"reference": "b"}', b'{"reference": "c", "twin": 0}'],
        [11, 13, 14],
        100,
    )
    answers, _ = await ask(FakeService([Turn(cut_after=1)]), questions)
    assert [answer and answer["index"] for answer in answers] == [10, 12, 13]
    last = answers[2]
    assert last
    assert last["hints"][0]["first_index"] == 12
