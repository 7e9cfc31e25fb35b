"""What replies are worth, question by question: right, wrong, unavailable, refused or lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from loadtests.generator.connections import CUT, HUNG, UNREACHABLE, Reply
from loadtests.questions import Answer, Question, shown
from loadtests.requests import Request
from loadtests.result import Cell
from loadtests.scenario import WRITES

# Wrong answers that are quoted; a broken service would fill the report with them.
_QUOTES = 20
# Answers that are judged in a row: some 0.2 ms, in which nothing can be sent.
_STEP = 100
# The reasons of a 429 or 503 that mean: too much at once. Others mean that the ledger cannot be
# read, which is an answer to each question.
OVERLOADED = "overloaded"
_REFUSALS = frozenset({OVERLOADED, "rate_limited"})
_NEWLINE = b"\n"


class _Summary(msgspec.Struct):
    complete: bool = False


class _Batch(msgspec.Struct):
    results: list[Answer] = msgspec.field(default_factory=list)


class _Fed(msgspec.Struct):
    accepted: int = 0
    unchanged: int = 0


_answer = msgspec.json.Decoder(Answer)
_batch = msgspec.json.Decoder(_Batch)
_summary = msgspec.json.Decoder(_Summary)
_fed = msgspec.json.Decoder(_Fed)


class Judge:
    """Counts what replies are worth, and quotes the first answers that were wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def steps(self, request: Request, reply: Reply, cell: Cell) -> Iterator[None]:
        """Count a reply to a request in its cell, a part of a long one at each step."""
        status, traffic = reply.status, request.traffic
        latency = reply.received - reply.intended
        if status in (429, 503) and (reason := _refused_for(reply)) in _REFUSALS:
            cell.refused += 1
            cell.refused_questions += len(request.questions)
            cell.refusal.record(latency)
            cell.reasons[reason] = cell.reasons.get(reason, 0) + 1
        elif status in (200, 503) or (status == 422 and traffic.endpoint in ("single", "changed")):
            cell.answered += 1
            cell.latency.record(latency)
            yield from self._answers(request, reply, cell, good=latency <= traffic.within)
        else:
            cell.lost += len(request.questions)
            _count_lost(status, cell)

    def _answers(self, request: Request, reply: Reply, cell: Cell, *, good: bool) -> Iterator[None]:
        """Count the answers of a reply that has some, each by itself."""
        name, questions = request.traffic.name, request.questions
        judged = 0
        try:
            answers, count, complete = _read(request, reply)
            if count != len(questions) and (complete or count > len(questions)):
                raise msgspec.DecodeError(f"{count} results for {len(questions)} questions")
            cell.lost += len(questions) - count
            questions = questions[:count]
            for question, answer in zip(questions, answers, strict=True):
                self._count(question, answer, reply, cell, good=good)
                judged += 1
                if judged % _STEP == 0:
                    yield
        except msgspec.DecodeError as error:
            cell.wrong += len(questions) - judged
            self._quote(f"{name}: {error}: {reply.body[:300]!r}")

    def _count(
        self, question: Question, answer: Answer, reply: Reply, cell: Cell, *, good: bool
    ) -> None:
        said = shown(answer)
        verdict = said[0]
        if verdict == "unavailable":
            cell.unavailable += 1
            cell.reasons[answer.reason] = cell.reasons.get(answer.reason, 0) + 1
        elif question.right(said, reply.sent, reply.received):
            cell.right += 1
            cell.good += good
            cell.verdicts[verdict] = cell.verdicts.get(verdict, 0) + 1
        else:
            cell.wrong += 1
            self._quote(f"{question.body.decode()} got {said}")

    def _quote(self, text: str) -> None:
        if len(self.wrong) < _QUOTES:
            self.wrong.append(text)


def _count_lost(status: int, cell: Cell) -> None:
    if status == CUT:
        cell.cut += 1
    elif status == HUNG:
        cell.hung += 1
    elif status == UNREACHABLE:
        cell.unreachable += 1
    else:
        cell.failed += 1
        cell.failures[str(status)] = cell.failures.get(str(status), 0) + 1


def _refused_for(reply: Reply) -> str:
    """Why a request was refused as a whole; what has no reason that we know is overload as well."""
    try:
        return _answer.decode(reply.body).reason or OVERLOADED
    except msgspec.DecodeError:
        # A balancer's own page.
        return OVERLOADED


def _read(request: Request, reply: Reply) -> tuple[Iterable[Answer], int, bool]:
    """The answers of a reply, how many they are, and whether they are all.

    DecodeError when it is not of our form, lines of a stream when they are reached.
    """
    endpoint, body = request.traffic.endpoint, reply.body
    answers: Sequence[Answer]
    if reply.status == 503:
        # One word for all of its questions.
        answers = [_answer.decode(body)] * len(request.questions)
    elif endpoint in WRITES:
        fed = _fed.decode(body)
        answers = [Answer("accepted")] * (fed.accepted + fed.unchanged)
    elif endpoint == "batch":
        answers = _batch.decode(body).results
    elif endpoint == "stream":
        *lines, last = body.rstrip(_NEWLINE).split(_NEWLINE)
        return map(_answer.decode, lines), len(lines), _summary.decode(last).complete
    else:
        answers = [_answer.decode(body)]
    return answers, len(answers), True
