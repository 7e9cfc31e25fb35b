"""What a caller of the HTTP API relies on, over a real ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from openapi_spec_validator import validate

from tests.e2e.support import CONFORMANCE, NDJSON, NOON, Json, Service, clock_at, running
from tests.ledger.support import replay_paused
from tests.support import Database
from verifier.api import openapi
from verifier.app.service import Service as BuiltService
from verifier.synthetic import example
from verifier.wire import schemas

LINES = (CONFORMANCE / "ledger.ndjson").read_bytes().splitlines()
DIGITAL = next(line for line in map(json.loads, LINES) if line["kind"] == "digital_special")
QUESTION = {name: DIGITAL[name] for name in ("number", "date", "total")}
ABSENT = {"number": "26112243396243851343", "date": "2026-10-01", "total": "1.00"}
YESTERDAY = ABSENT | {"date": "2026-11-23"}
TODAY = ABSENT | {"date": "2026-11-24"}


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Serve the conformance ledger at the conformance set's moment, with small bounds."""
    settings = {
        "max_batch_items": 50,
        "max_batch_body": 20_000,
        "max_body": 2_000,
        "max_line": 2_000,
        "body_timeout": 1.0,
        "idle_timeout": 2.0,
        "max_batches": 1,
        "max_streams": 1,
        "max_feeds": 1,
    }
    async with running(database, clock_at(NOON), **settings) as service:
        await service.feed(LINES)
        yield service


def strict(answer: Json, shape: Any) -> None:
    """The answer has exactly the members of a documented shape."""
    msgspec.json.decode(msgspec.json.encode(answer), type=shape)


async def test_each_verdict_has_its_documented_shape_and_status(service: Service) -> None:
    """A match, mismatch, not_found and pending are 200, an invalid question is a 422 problem."""
    status, answer = await service.ask(QUESTION | {"reference": 'a "b" 发票'})
    strict(answer, schemas.Match)
    assert (status, answer["reference"]) == (200, 'a "b" 发票')
    assert answer["invoice"]["seller_name"] == DIGITAL["seller_name"]

    status, answer = await service.ask(QUESTION | {"total": "1.00", "amount": "2.00"})
    strict(answer, schemas.Mismatch)
    assert (status, answer["mismatched"]) == (200, ["amount", "total"])
    assert [hint["code"] for hint in answer["hints"]] == ["swapped_amounts"]

    status, answer = await service.ask(ABSENT)
    strict(answer, schemas.NotFound)
    assert status == 200

    status, answer = await service.ask(TODAY)
    strict(answer, schemas.Pending)
    assert status == 200

    status, answer = await service.ask({"number": "12", "totl": 1})
    strict(answer, schemas.Problem)
    assert (status, answer["status"], answer["code"]) == (422, 422, "invalid")
    assert [(error["field"], error["code"]) for error in answer["errors"]] == [
        ("date", "required"),
        ("number", "bad_length"),
        ("totl", "unknown_field"),
    ]


async def test_messages_are_chinese_unless_english_is_preferred(service: Service) -> None:
    """Accept-Language picks the language of messages and titles; codes stay."""
    _, chinese = await service.ask({"number": "12"})
    _, english = await service.ask({"number": "12"}, **{"Accept-Language": "en-GB, zh;q=0.5"})
    assert chinese["title"] == "输入有误"
    assert english["title"] == "The question is malformed"
    assert "发票号码" in chinese["errors"][1]["message"]
    assert "number has a wrong length" in english["errors"][1]["message"]
    assert [error["code"] for error in chinese["errors"]] == [
        error["code"] for error in english["errors"]
    ]


async def test_the_source_tells_where_the_answer_comes_from(service: Service) -> None:
    """First a replica answers, then memory, and with a new token who has caught up with it."""

    async def source(**headers: str) -> str:
        _, answer = await service.ask(QUESTION, **headers)
        told: str = answer["freshness"]["source"]
        return told

    assert await source() == "replica"
    # What the ledger was fed a moment ago may still be on its way to memory.
    async with asyncio.timeout(5):
        while await source() != "cache":
            pass
    change = {"number": DIGITAL["number"], "status": "voided"}
    url = f"{service.url}/v1/ledger/status"
    async with replay_paused(service.database):
        async with service.session.post(url, json=change, headers=NDJSON) as response:
            token = (await response.json())["token"]
        assert await source(**{"Consistency-Token": token}) == "primary"


async def test_a_token_shows_what_was_fed_at_once(service: Service) -> None:
    """A question with the token of a feed sees that feed, whatever memory and replicas hold."""
    await service.ask(QUESTION)
    for status in ("voided", "normal") * 5:
        change = {"code": "", "number": DIGITAL["number"], "status": status}
        async with service.session.post(
            f"{service.url}/v1/ledger/status", json=change, headers=NDJSON
        ) as response:
            fed = await response.json()
            assert fed["accepted"] == 1
        _, answer = await service.ask(QUESTION, **{"Consistency-Token": fed["token"]})
        assert answer["status"] == status
    token = fed["token"]
    for other in (
        "not one of ours",
        token[:-2] + ("AA" if token[-2:] != "AA" else "BB"),
        token[2:],
    ):
        code, problem = await service.ask(QUESTION, **{"Consistency-Token": other})
        assert (code, problem["code"]) == (400, "malformed_token")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/verify", QUESTION),
        ("/v1/verify/batch", {"invoices": [QUESTION]}),
        ("/v1/verify/stream", QUESTION),
    ],
)
async def test_two_tokens_are_none(service: Service, path: str, body: Json) -> None:
    """Nobody knows which one was meant: refused, whatever each is worth."""
    async with service.session.put(
        f"{service.url}/v1/ledger/regions/1100/watermark",
        json={"complete_until": "2026-03-01T00:00:00Z"},
    ) as response:
        token = (await response.json())["token"]
    async with service.session.post(
        f"{service.url}{path}",
        json=body,
        headers=[("Consistency-Token", token), ("Consistency-Token", token)],
    ) as response:
        assert (response.status, (await response.json())["code"]) == (400, "malformed_token")


async def test_a_watermark_turns_pending_into_not_found(service: Service) -> None:
    """A region that says it is complete past the day has no pending questions for it."""
    assert (await service.ask(YESTERDAY))[1]["verdict"] == "pending"
    url = f"{service.url}/v1/ledger/regions/1100/watermark"
    body = {"complete_until": "2026-11-24T00:00:00+08:00"}
    async with service.session.put(url, json=body) as response:
        assert response.status == 200
        strict(shown := await response.json(), schemas.WatermarkSet)
        token = shown["token"]
        assert shown["moved_back"] is False
    async with asyncio.timeout(5):
        while (await service.ask(YESTERDAY))[1]["verdict"] == "pending":
            await asyncio.sleep(0.05)
    _, answer = await service.ask(YESTERDAY, **{"Consistency-Token": token})
    assert answer["verdict"] == "not_found"
    async with service.session.get(f"{service.url}/v1/freshness") as response:
        strict(report := await response.json(), schemas.FreshnessReport)
    regions = {region["region"]: region for region in report["regions"]}
    assert regions["1100"]["complete_until"] == "2026-11-23T16:00:00.000Z"
    assert (regions["1100"]["set"], regions["1200"]["set"]) == (True, False)
    assert [database["serving"] for database in report["databases"]] == [True] * 3
    body = {"complete_until": "2026-11-23T15:59:59Z"}
    async with service.session.put(url, json=body) as response:
        assert (await response.json())["moved_back"] is True


async def test_a_watermark_of_the_future_makes_nothing_not_found(service: Service) -> None:
    """One that plain SQL has stored counts until now: today's invoices may yet come (A7)."""
    connection = await asyncpg.connect(service.database.primary_dsn)
    try:
        await connection.execute("INSERT INTO region_watermark VALUES ('1100', '9999-12-31Z')")
    finally:
        await connection.close()
    async with asyncio.timeout(5):
        while (await service.ask(YESTERDAY))[1]["verdict"] == "pending":
            await asyncio.sleep(0.05)
    assert (await service.ask(TODAY))[1]["verdict"] == "pending"
    async with service.session.get(f"{service.url}/v1/freshness") as response:
        assert response.status == 200
        regions = {each["region"]: each for each in (await response.json())["regions"]}
    assert regions["1100"]["complete_until"].startswith("2026-11-24T04:0")


@pytest.mark.parametrize(
    "moment",
    ["2026-11-24T04:10:00Z", "9999-12-31T23:59:59-14:00", "1999-12-31T23:59:59Z"],
)
async def test_a_watermark_out_of_range_is_refused(service: Service, moment: str) -> None:
    """A moment in the future or before 2000 is a problem with field, given and expected (A7)."""
    url = f"{service.url}/v1/ledger/regions/1100/watermark"
    async with service.session.put(url, json={"complete_until": moment}) as response:
        problem = await response.json()
    assert (response.status, problem["code"]) == (422, "invalid_watermark")
    assert moment.removesuffix("Z") in problem["detail"]
    (error,) = problem["errors"]
    assert (error["field"], error["code"]) == ("complete_until", "out_of_range")
    assert error["expected"].startswith("2000-01-01T00:00:00Z … 2026-11-24T04:0")
    strict(problem, schemas.Problem)
    async with service.session.get(f"{service.url}/v1/freshness") as response:
        regions = {each["region"]: each for each in (await response.json())["regions"]}
    assert regions["1100"]["set"] is False


@pytest.mark.parametrize(
    ("region", "body", "status", "code"),
    [
        ("1100", b"{", 400, "malformed_watermark"),
        ("1100", b'{"complete_until": "2026-11-24T16:00:00"}', 400, "malformed_watermark"),
        ("1100", b'{"complete_until": "soon"}', 400, "malformed_watermark"),
        ("1100", b'{"complete_until": "12026-11-24T16:00:00Z"}', 400, "malformed_watermark"),
        ("9999", b'{"complete_until": "2026-11-24T16:00:00Z"}', 404, "unknown_region"),
    ],
)
async def test_a_bad_watermark_is_refused_with_what_was_expected(
    service: Service, region: str, body: bytes, status: int, code: str
) -> None:
    """A watermark without offset, of no region or of no JSON changes nothing."""
    url = f"{service.url}/v1/ledger/regions/{region}/watermark"
    headers = {"Content-Type": "application/json"}
    async with service.session.put(url, data=body, headers=headers) as response:
        problem = await response.json()
    assert (response.status, problem["code"]) == (status, code)
    assert "expected" in problem["detail"]


async def test_a_batch_answers_every_item_whatever_the_others_are(service: Service) -> None:
    """Malformed items are results among the others, duplicates are hinted at, counts add up."""
    odd: Any = 7
    results = await service.batch([QUESTION, {"x": 1}, QUESTION, odd, ABSENT, {"total": 1.005}])
    assert [result["verdict"] for result in results] == [
        "match",
        "invalid",
        "match",
        "invalid",
        "not_found",
        "invalid",
    ]
    assert results[2]["hints"][0]["code"] == "duplicate_in_request"
    assert results[2]["hints"][0]["first_index"] == 0
    assert results[3]["errors"][0]["field"] == ""
    for result in results:
        strict(result, schemas.Result)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("verify", b"", {}, 400, "malformed_json"),
        ("verify", b"{", {}, 400, "malformed_json"),
        ("verify", b'{"number":"\xff"}', {}, 400, "malformed_json"),
        ("verify", b'{"number":"\\ud800"}', {}, 400, "malformed_json"),
        ("verify", b"[" * 1500, {}, 400, "malformed_json"),
        ("verify", b" " * 3_000, {}, 413, "body_too_large"),
        ("verify", b"\x1f\x8b", {"Content-Encoding": "gzip"}, 415, "content_encoding"),
        ("verify/batch", b"[]", {}, 400, "malformed_batch"),
        ("verify/batch", b'{"invoices":[]}', {}, 400, "malformed_batch"),
        ("verify/batch", b'{"invoices":[{}],"more":1}', {}, 400, "malformed_batch"),
        ("verify/batch", b'{"invoices":[' + b"{}," * 50 + b"{}]}", {}, 413, "too_many_items"),
        ("verify/batch", b'{"invoices":[' + b" " * 30_000 + b"]}", {}, 413, "body_too_large"),
        ("nothing/here", b"", {}, 404, "not_found"),
    ],
)
async def test_what_cannot_be_read_is_a_problem_and_the_connection_stays(
    service: Service, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """A request that fails as a whole gets a problem document; the next one is answered."""
    async with service.session.post(
        f"{service.url}/v1/{path}", data=body, headers=headers
    ) as response:
        assert response.content_type == "application/problem+json"
        strict(problem := await response.json(content_type=None), schemas.Problem)
        assert (response.status, problem["status"], problem["code"]) == (status, status, code)
    assert (await service.ask(QUESTION))[1]["verdict"] == "match"


async def test_a_wrong_method_is_told_the_right_ones(service: Service) -> None:
    """GET where only POST stands is a 405 problem with Allow."""
    async with service.session.get(f"{service.url}/v1/verify") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_a_trickled_body_is_cut_off(service: Service) -> None:
    """A body that does not arrive within its time is a 408, and holds nothing up."""

    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await asyncio.sleep(0.05)

    async with service.session.post(f"{service.url}/v1/verify", data=trickle()) as response:
        assert response.status == 408
    assert (await service.ask(QUESTION))[1]["verdict"] == "match"


async def test_health_routes_answer(service: Service) -> None:
    """livez, readyz and startupz are 200 while the service serves; metrics show its answers."""
    await service.ask(QUESTION)
    for name in ("livez", "readyz", "startupz"):
        async with service.session.get(f"{service.url}/{name}") as response:
            assert response.status == 200
    async with service.session.get(f"{service.url}/metrics") as response:
        text = await response.text()
    assert 'verifier_answers_total{endpoint="verify",verdict="match"} 1.0' in text
    assert 'verifier_database_serving{role="replica",target="replica-1"} 1.0' in text


async def test_the_openapi_document_is_valid_and_complete(
    service: Service, built: BuiltService
) -> None:
    """The served document is valid OpenAPI 3.1, and has an operation for each route there is."""
    async with service.session.get(f"{service.url}/openapi.json") as response:
        served = await response.json()
    validate(served)
    assert served == json.loads(msgspec.json.encode(openapi.document(built.routes, keyed=False)))
    routed = {
        (route.method, route.resource.canonical)
        for route in built.application.router.routes()
        if route.resource is not None and route.method not in ("*", "HEAD")
    }
    documented = {
        (method.upper(), path)
        for path, operations in served["paths"].items()
        for method in operations
    }
    assert routed == documented


def test_head_is_answered_wherever_get_is(built: BuiltService) -> None:
    """D25: for whoever only wants to know whether something is there."""
    methods: dict[str, set[str]] = {}
    for route in built.application.router.routes():
        assert route.resource is not None
        methods.setdefault(route.resource.canonical, set()).add(route.method)
    assert all(("GET" in each) == ("HEAD" in each) for each in methods.values())


async def test_the_readme_curl_matches(service: Service) -> None:
    """The question in the README is the demo ledger's example, and it matches."""
    readme = (CONFORMANCE.parent.parent / "README.md").read_text()
    assert example.curl("http://127.0.0.1:8080", Path("verifier-data/ask.key")) in readme
    await service.feed([example.LINE])
    assert (await service.ask(json.loads(example.QUESTION)))[1]["verdict"] == "match"
