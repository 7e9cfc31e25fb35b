"""The conformance set, through all three endpoints, over real replicas."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e.support import CONFORMANCE, NOON, Json, Service, clock_at, running, total
from tests.support import Database

CASES: list[Json] = [
    json.loads(line) for line in (CONFORMANCE / "cases.ndjson").read_bytes().splitlines()
]


def wrong(case: Json, answer: Json) -> list[str]:
    """What an answer has otherwise than the case expects."""
    expect = case["expect"]
    got = {
        "verdict": answer.get("verdict"),
        "status": answer.get("status"),
        "usable": answer.get("usable"),
        "mismatched": answer.get("mismatched"),
        "errors": [[error["field"], error["code"]] for error in answer.get("errors", [])],
    }
    hints = {hint["code"] for hint in answer.get("hints", [])}
    return [
        *(name for name, value in expect.items() if name in got and got[name] != value),
        *(f"no {code}" for code in expect.get("hints_include", []) if code not in hints),
        *(f"has {code}" for code in expect.get("hints_exclude", []) if code in hints),
    ]


def failures(answers: list[Json]) -> list[tuple[str, list[str], Json]]:
    """The cases whose answers are wrong, with what is wrong."""
    return [
        (case["id"], found, answer)
        for case, answer in zip(CASES, answers, strict=True)
        if (found := wrong(case, answer))
    ]


@asynccontextmanager
async def serving(database: Database, **settings: int) -> AsyncIterator[Service]:
    """The conformance ledger, served at the conformance set's moment."""
    async with running(database, clock_at(NOON), **settings) as service:
        fed = await service.feed((CONFORMANCE / "ledger.ndjson").read_bytes().splitlines())
        assert fed["rejected"] == []
        yield service


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Serve the conformance ledger."""
    async with serving(database) as service:
        yield service


@pytest.mark.parametrize(("known_heads", "way"), [(1_000, "desk"), (0, "aiohttp")])
async def test_every_case_holds_for_single_questions(
    database: Database, known_heads: int, way: str
) -> None:
    """Each case gets its expected answer and status, at the front desk and past it."""
    async with serving(database, known_heads=known_heads) as service:
        answers = []
        for case in CASES:
            status, answer = await service.ask(case["request"])
            assert status == (422 if case["expect"]["verdict"] == "invalid" else 200)
            answers.append(answer)
        assert failures(answers) == []
        async with service.session.get(f"{service.url}/metrics") as response:
            found = re.search(rf'_questions_total{{way="{way}"}} (\d+)', await response.text())
        # The first request of a connection may come before aiohttp waits for it.
        assert found is not None
        assert int(found[1]) >= len(CASES) - 1


async def test_every_case_holds_in_a_batch(service: Service) -> None:
    """Each case gets its expected answer in one batch of all of them, twice over."""
    for _ in range(2):  # from the replicas, then from memory
        answers = await service.batch([case["request"] for case in CASES])
        assert [answer["index"] for answer in answers] == list(range(len(CASES)))
        assert failures(answers) == []


async def test_every_case_holds_in_a_stream(service: Service) -> None:
    """Each case gets its expected answer in one stream, which ends complete."""
    *answers, end = await service.stream(json.dumps(case["request"]).encode() for case in CASES)
    assert end["complete"] is True
    assert total(end["summary"]) == len(CASES)
    assert failures(answers) == []
