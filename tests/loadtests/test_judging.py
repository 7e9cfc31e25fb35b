"""What replies are worth: right, wrong, unavailable, refused or lost, each question by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtests.generator.connections import CUT, HUNG, UNREACHABLE, Reply
from loadtests.judging import Judge
from loadtests.questions import Question, steady
from loadtests.requests import Caller, Request
from loadtests.result import Cell
from loadtests.scenario import Endpoint, Traffic

MATCH = {"verdict": "match", "status": "normal", "usable": True}
QUESTIONS = [steady({"number": str(number)}, ("match", "normal", True)) for number in range(3)]


def request(endpoint: Endpoint, questions: list[Question] = QUESTIONS) -> Request:
    """A request with some questions, good within a second."""
    traffic = Traffic(endpoint, endpoint, 1, items=len(questions), within=1.0)
    return Caller("test").request(traffic, questions)


def judged(asked: Request, status: int, body: bytes, seconds: float = 0.1) -> tuple[Cell, Judge]:
    """The cell of a request that got this reply."""
    cell, judge = Cell(questions=len(asked.questions)), Judge()
    reply = Reply(status, b"", body, 10.0, 10.0, 10.0 + seconds)
    assert list(judge.steps(asked, reply, cell)) == []
    return cell, judge


def text(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()


def lines(*values: Any) -> bytes:
    """JSON, a value a line."""
    return b"".join(text(value) + b"\n" for value in values)


def test_a_right_answer() -> None:
    """A right answer in time is good, and its verdict is counted."""
    cell, _ = judged(request("single", QUESTIONS[:1]), 200, text(MATCH))
    assert (cell.answered, cell.right, cell.good, cell.verdicts) == (1, 1, 1, {"match": 1})
    assert len(cell.latency) == 1


def test_a_late_answer_is_right_but_not_good() -> None:
    """What comes after the class's time does not count as goodput."""
    cell, _ = judged(request("single", QUESTIONS[:1]), 200, text(MATCH), seconds=1.5)
    assert (cell.right, cell.good) == (1, 0)


def test_a_wrong_status_of_the_invoice_is_wrong() -> None:
    """A match that calls a voided invoice normal is as wrong as another verdict; it is quoted."""
    cell, judge = judged(request("single", QUESTIONS[:1]), 200, text({**MATCH, "status": "voided"}))
    assert (cell.right, cell.wrong) == (0, 1)
    assert judge.wrong == ["{\"number\":\"0\"} got ('match', 'voided', True)"]


def test_invalid_is_an_answer() -> None:
    """422 with the expected errors is right, with others it is wrong."""
    question = steady({"totl": "1"}, ("invalid", (("totl", "unknown_field"),)))
    problem = {
        "code": "invalid",
        "status": 422,
        "errors": [{"field": "totl", "code": "unknown_field"}],
    }
    cell, _ = judged(request("single", [question]), 422, text(problem))
    assert (cell.answered, cell.right) == (1, 1)
    cell, _ = judged(request("single", [question]), 422, text({**problem, "errors": []}))
    assert cell.wrong == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("body", [b'{"code":"unavailable","reason":"overloaded"}', b"<html>busy"])
def test_refused(status: int, body: bytes) -> None:
    """Refused as a whole: no error, not unavailable, and its own time is kept apart."""
    cell, _ = judged(request("batch"), status, body)
    assert (cell.refused, cell.refused_questions, cell.answered) == (1, 3, 0)
    assert (cell.unavailable, cell.lost, cell.wrong) == (0, 0, 0)
    assert (len(cell.refusal), len(cell.latency)) == (1, 0)


def test_unavailable() -> None:
    """A 503 that says why the ledger cannot be read answers each question: no refusal."""
    cell, _ = judged(request("batch"), 503, b'{"code":"unavailable","reason":"stale"}')
    assert (cell.refused, cell.unavailable, cell.reasons) == (0, 3, {"stale": 3})


def test_a_batch_is_judged_item_by_item() -> None:
    """One wrong and one unavailable item leave the third one right."""
    results = [MATCH, {"verdict": "not_found"}, {"verdict": "unavailable", "reason": "timeout"}]
    cell, _ = judged(request("batch"), 200, text({"results": results, "summary": {}}))
    assert (cell.right, cell.wrong, cell.unavailable) == (1, 1, 1)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_batch_with_another_number_of_results_is_wrong(count: int) -> None:
    """Each item has exactly one result: with fewer or more all are wrong."""
    cell, judge = judged(request("batch"), 200, text({"results": [MATCH] * count}))
    assert cell.wrong == 3
    assert f"{count} results for 3 questions" in judge.wrong[0]


def test_a_whole_stream() -> None:
    """A stream that says that it is complete is judged line by line."""
    cell, _ = judged(request("stream"), 200, lines(MATCH, MATCH, MATCH, {"complete": True}))
    assert (cell.right, cell.lost) == (3, 0)


def test_a_stream_that_was_cut() -> None:
    """What an honestly incomplete stream has not answered is lost, not wrong."""
    cell, _ = judged(request("stream"), 200, lines(MATCH, {"complete": False}))
    assert (cell.right, cell.wrong, cell.lost) == (1, 0, 2)


def test_a_stream_that_lies_about_being_complete() -> None:
    """A stream that lacks a line and says that it is complete is wrong."""
    cell, _ = judged(request("stream"), 200, lines(MATCH, {"complete": True}))
    assert cell.wrong == 3


def test_a_line_that_is_none() -> None:
    """A broken line makes itself and what follows wrong, and leaves what was judged before."""
    body = text(MATCH) + b"\n{broken\n" + lines(MATCH, {"complete": True})
    cell, _ = judged(request("stream"), 200, body)
    assert (cell.right, cell.wrong) == (1, 2)


@pytest.mark.parametrize(
    ("status", "name"), [(CUT, "cut"), (HUNG, "hung"), (UNREACHABLE, "unreachable")]
)
def test_lost(status: int, name: str) -> None:
    """What got no answer is lost, by how."""
    cell, _ = judged(request("batch"), status, b"")
    assert (getattr(cell, name), cell.lost) == (1, 3)


def test_other_statuses_are_failures() -> None:
    """An error of the service is a failure with its status."""
    cell, _ = judged(request("single", QUESTIONS[:1]), 500, b"oops")
    assert (cell.failed, cell.failures, cell.lost) == (1, {"500": 1}, 1)


def test_lines_that_are_fed() -> None:
    """A feed is right when all of its lines were taken."""
    accepted = [Question(b"{}", lambda said, _sent, _received: said == ("accepted",))] * 2
    cell, _ = judged(request("feed", accepted), 200, b'{"accepted":1,"unchanged":1}')
    assert cell.right == 2
    cell, _ = judged(request("feed", accepted), 200, b'{"accepted":1,"unchanged":0}')
    assert cell.wrong == 2


def test_long_replies_are_judged_in_parts() -> None:
    """A hundred answers at a time, so that what is due meanwhile can be sent."""
    asked = request("batch", QUESTIONS * 100)
    cell, judge = Cell(), Judge()
    reply = Reply(200, b"", text({"results": [MATCH] * 300}), 0.0, 0.0, 0.1)
    assert len(list(judge.steps(asked, reply, cell))) == 3
    assert cell.right == 300
