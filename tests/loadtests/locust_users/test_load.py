"""What one process of Locust's asks, and what it tells of it."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from loadtests.generator.connections import CUT, HUNG, UNREACHABLE, Reply
from loadtests.judging import Judge
from loadtests.locust_users.load import Load
from loadtests.questions import Book
from loadtests.requests import Request
from loadtests.result import Cell, decode_window
from loadtests.scenario import Scenario, Stage, Traffic
from loadtests.sender import Setup

SINGLES, BATCHES = {"single": 1.0}, {"batch": 1.0}
SETUP = Setup(
    scenario=Scenario(
        "test",
        "single questions, then batches",
        [Traffic("single", "single", 1), Traffic("batch", "batch", 1, items=3)],
        stages=[Stage("singles", 10, 100, parts=SINGLES), Stage("batches", 10, 100, parts=BATCHES)],
        mix={"not_found": 1},
        distinct=50,
    ),
    book=Book(1_000, 1, date(2026, 11, 15)),
    today=date(2026, 11, 15),
    address=("127.0.0.1", 1),
    host="test",
    headers="Authorization: Bearer secret\r\n",
)
RIGHT = b'{"verdict":"not_found"}'


@pytest.fixture
def load() -> Load:
    """Make one whose second 0 is the moment 100, and which sends from then on for 20 seconds."""
    load = Load(SETUP)
    load.start(100.0, 0, 20)
    return load


def asked(load: Load, moment: float = 101.0) -> Request:
    """The request that is next at a moment."""
    request = load.next(moment)
    assert request is not None
    return request


def booked(load: Load, status: int, body: bytes, moment: float = 101.0) -> str | None:
    """What Locust shows of a request that got this reply within a tenth of a second."""
    request = asked(load, moment)
    judge, cell = Judge(), Cell(offered=1, questions=len(request.questions))
    reply = Reply(status, b"", body, moment, moment, moment + 0.1)
    assert list(judge.steps(request, reply, cell)) == []
    return load.book(request, reply, cell, judge.wrong)


def seen(load: Load) -> dict[tuple[int, str], Cell]:
    """What is told, by second and class."""
    windows = [decode_window(line) for line in load.told()["windows"]]
    return {
        (window.second, name): cell for window in windows for name, cell in window.cells.items()
    }


def test_nothing_is_sent_before_the_beginning(load: Load) -> None:
    """Users that are there early wait."""
    assert load.next(99.9) is None
    assert load.next(100.0) is not None


def test_nothing_is_sent_after_the_end(load: Load) -> None:
    """Between steps nobody asks, until the next one begins."""
    assert load.next(119.9) is not None
    assert load.next(120.0) is None
    load.start(100.0, 60, 3)
    assert load.next(160.0) is not None


def test_nothing_is_sent_once_it_is_stopped(load: Load) -> None:
    """A run may be stopped in the middle of a stage."""
    load.stop()
    assert load.next(101.0) is None


def test_the_class_is_drawn_by_the_stage(load: Load) -> None:
    """Each stage sends what its parts say."""
    assert {asked(load, 109.9).traffic.name for _ in range(20)} == {"single"}
    assert {asked(load, 110.0).traffic.name for _ in range(20)} == {"batch"}


def test_a_batch_has_its_items(load: Load) -> None:
    """A request has as many questions as its class has items, and its body as many."""
    request = asked(load, 110.0)
    assert len(request.questions) == 3
    assert len(msgspec.json.decode(request.body)["invoices"]) == 3


def test_parts_ask_different_questions() -> None:
    """No two processes of a run send the same requests."""
    parts = [Load(msgspec.structs.replace(SETUP, part=part, parts=2)) for part in range(2)]
    for part in parts:
        part.start(100.0, 0, 20)
    one, other = [{asked(part).body for _ in range(20)} for part in parts]
    assert not one & other


def test_the_key_goes_along(load: Load) -> None:
    """Headers of the setup are those of each request."""
    assert load.headers == {"Authorization": "Bearer secret"}


def test_a_right_answer_is_no_failure(load: Load) -> None:
    """It is booked in the second in which it was sent."""
    assert booked(load, 200, RIGHT, 103.5) is None
    cell = seen(load)[3, "single"]
    assert (cell.offered, cell.answered, cell.right) == (1, 1, 1)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (503, b'{"reason":"overloaded"}', "refused: overloaded"),
        (429, b'{"reason":"rate_limited"}', "refused: rate_limited"),
        (503, b'{"code":"unavailable","reason":"no_replica"}', "unavailable: no_replica"),
        (200, b'{"verdict":"unavailable","reason":"too_stale"}', "unavailable: too_stale"),
        (500, b"", "lost: status 500"),
        (CUT, b"", "lost: the connection ended before the answer"),
        (HUNG, b"", "lost: no answer in time"),
        (UNREACHABLE, b"", "lost: no connection"),
    ],
)
def test_kinds_of_failure_are_told_apart(
    load: Load, status: int, body: bytes, failure: str
) -> None:
    """Locust shows of each failure which kind it is, and why."""
    assert booked(load, status, body) == failure


def test_a_wrong_answer_is_quoted(load: Load) -> None:
    """Question and answer stand in Locust's failure, and are told to who leads."""
    failure = booked(load, 200, b'{"verdict":"pending"}')
    assert failure is not None
    assert failure.startswith('wrong: {"')
    assert failure.endswith("got ('pending',)")
    assert load.told()["wrong"] == [failure.removeprefix("wrong: ")]


def test_wrong_answers_are_quoted_twenty_times(load: Load) -> None:
    """A broken service does not fill Locust's table with a line for each answer."""
    failures = [booked(load, 200, b'{"verdict":"pending"}') for _ in range(30)]
    assert failures[20:] == ["wrong: like those above"] * 10
    assert len(load.told()["wrong"]) == 20
    assert booked(load, 200, b'{"verdict":"pending"}') == "wrong: like those above"


def test_everything_is_told_once(load: Load) -> None:
    """Reports add up: what one has told is not in the next."""
    booked(load, 200, RIGHT)
    assert seen(load)[1, "single"].offered == 1
    assert seen(load) == {}
    booked(load, 200, RIGHT)
    booked(load, 200, RIGHT)
    assert seen(load)[1, "single"].offered == 2
