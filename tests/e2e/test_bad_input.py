"""C16, C17, D22, D23, D26: bad input at a running service, in every endpoint, feeds included."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.e2e.support import CONFORMANCE, NDJSON, NOON, Json, Service, clock_at, running
from tests.support import Database, wait_replayed
from verifier.wire import schemas

LINES = (CONFORMANCE / "ledger.ndjson").read_bytes().splitlines()
DIGITAL = next(line for line in map(json.loads, LINES) if line["kind"] == "digital_special")
QUESTION = {name: DIGITAL[name] for name in ("number", "date", "total")}
GOOD = json.dumps(QUESTION).encode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Serve the conformance ledger at the conformance set's moment."""
    async with running(database, clock_at(NOON)) as service:
        await service.feed(LINES)
        yield service


async def send(service: Service, path: str, body: bytes, *, put: bool = False) -> tuple[int, bytes]:
    """Status and body of the answer to bytes as they are."""
    headers = NDJSON if path.startswith("/v1/ledger/") and not put else JSON
    ask = service.session.put if put else service.session.post
    async with ask(f"{service.url}{path}", data=BytesIO(body), headers=headers) as response:
        return response.status, await response.read()


async def in_bulk(service: Service, odd: bytes) -> list[Json]:
    """What a batch and a stream say of an item between two good ones, which both match."""
    status, body = await send(
        service, "/v1/verify/batch", b'{"invoices":[%b]}' % b",".join((GOOD, odd, GOOD))
    )
    assert status == 200, body
    batch = msgspec.json.decode(body, type=schemas.BatchAnswer).results
    status, body = await send(service, "/v1/verify/stream", b"\n".join((GOOD, odd, GOOD)))
    assert status == 200, body
    stream = [msgspec.json.decode(line, type=schemas.Result) for line in body.splitlines()[:-1]]
    shown = []
    for results in (batch, stream):
        members: list[Any] = [msgspec.to_builtins(result) for result in results]
        assert [result["verdict"] for result in members] == ["match", "invalid", "match"]
        shown.append(members[1])
    return shown


def told(answer: Json) -> list[tuple[str, str]]:
    """Field and code of each error."""
    return [(error["field"], error["code"]) for error in answer["errors"]]


def unknown(count: int) -> bytes:
    """A question with so many unknown fields."""
    return b"{%b}" % b",".join(b'"k%d":1' % each for each in range(count))


async def test_c16_errors_of_a_question_are_bounded(service: Service) -> None:
    """Of thousands of unknown fields 20 errors are listed, and the rest is a number, everywhere."""
    odd = unknown(5_000)
    status, body = await send(service, "/v1/verify", odd)
    assert status == 422
    for answer in (json.loads(body), *await in_bulk(service, odd)):
        assert len(answer["errors"]) == 20
        assert answer["more_errors"] == 5_000 - 20


async def test_c16_an_item_with_630_000_unknown_fields(service: Service) -> None:
    """It is answered with one error, as the others are with theirs."""
    for answer in await in_bulk(service, unknown(630_000)):
        assert told(answer) == [("", "bad_length")]


async def test_c16_what_a_feed_says_of_bad_lines_is_bounded(service: Service) -> None:
    """A thousand lines with thousands of unknown fields bring a small answer."""
    line = unknown(5_000)
    for what in ("invoices", "status"):
        status, body = await send(service, f"/v1/ledger/{what}", b"\n".join([line] * 100))
        assert status == 422
        assert len(body) < 300_000
        answer = json.loads(body)
        assert answer["rejected_count"] == 100
        assert len(answer["rejected"]) == 50
        for rejected in answer["rejected"]:
            assert len(rejected["errors"]) == 20
            assert rejected["more_errors"] > 4_980


async def test_c17_an_answer_shows_few_red_letters(service: Service) -> None:
    """Of 2,000 red letters of an invoice 20 are shown, so that batches of it stay small."""
    primary = await asyncpg.connect(service.database.primary_dsn)
    keys = [f"2611{each:016d}" for each in range(2_000)]
    await primary.execute(
        "UPDATE invoice SET red_letters = $1 WHERE key = $2", keys, DIGITAL["number"]
    )
    await primary.close()
    await wait_replayed(service.database.primary_dsn, service.database.replica_dsns)
    for result in await service.batch([QUESTION] * 100):
        assert len(result["invoice"]["red_letters"]) == 20
        assert result["invoice"]["red_letters_count"] == 2_000
        assert len(json.dumps(result)) < 6_000


async def test_c17_a_line_names_at_most_100_red_letters(service: Service) -> None:
    """A line with more of them is rejected for it."""
    many = [{"code": "", "number": f"2611{each:016d}"} for each in range(101)]
    line = json.dumps(DIGITAL | {"red_letters": many}).encode()
    _, body = await send(service, "/v1/ledger/invoices", line)
    assert told(json.loads(body)["rejected"][0]) == [("red_letters", "bad_length")]


TWICE = GOOD[:-1] + b',"tot\\u0061l":"1.00"}'


async def test_d22_a_field_given_twice(service: Service) -> None:
    """It is refused with its name, however it is spelt, in all three endpoints."""
    status, body = await send(service, "/v1/verify", TWICE)
    assert status == 422
    for answer in (json.loads(body), *await in_bulk(service, TWICE)):
        assert told(answer) == [("total", "duplicate_field")]


async def test_d22_nul_in_text(service: Service) -> None:
    """It is a bad format of its field, and nothing is echoed."""
    odd = GOOD[:-1] + b',"reference":"a\\u0000b"}'
    status, body = await send(service, "/v1/verify", odd)
    assert status == 422
    for answer in (json.loads(body), *await in_bulk(service, odd)):
        assert told(answer) == [("reference", "bad_format")]
        assert answer["reference"] is None


async def test_d22_feeds_refuse_both(service: Service) -> None:
    """Lines of both feeds with a name twice, nested ones included, or NUL are rejected for it."""
    whole = json.dumps(DIGITAL).encode()[:-1]
    other = b'{"number":"26112000000000000009","number":"26112000000000000008"}'
    lines = (
        (whole + b',"status":"voided"}', "status", "duplicate_field"),
        (whole + b',"red_letter_of":%b}' % other, "red_letter_of", "duplicate_field"),
        (whole + b',"red_letters":[%b]}' % other, "red_letters", "duplicate_field"),
        (whole + b',"issued_at":"2026-03-01T12:00:00Z","issued_at":null}', "issued_at", ""),
        (whole.replace(b'"buyer_name": "', b'"buyer_name": "\\u0000') + b"}", "buyer_name", "nul"),
    )
    _, body = await send(service, "/v1/ledger/invoices", b"\n".join(line for line, *_ in lines))
    codes = {"": "duplicate_field", "nul": "bad_format"}
    assert [told(each) for each in json.loads(body)["rejected"]] == [
        [(field, codes.get(code, code))] for _, field, code in lines
    ]
    number = DIGITAL["number"].encode()
    changes = (
        b'{"number":"%b","status":"normal","status":"voided"}' % number,
        b'{"number":"%b","status":"voided","red_letter":%b}' % (number, other),
        b'{"number":"%b","status":"void\\u0000"}' % number,
    )
    _, body = await send(service, "/v1/ledger/status", b"\n".join(changes))
    assert [told(each) for each in json.loads(body)["rejected"]] == [
        [("status", "duplicate_field")],
        [("red_letter", "duplicate_field")],
        [("status", "bad_format")],
    ]
    moment = b'"complete_until":"2026-11-23T16:00:00Z"'
    status, body = await send(
        service, "/v1/ledger/regions/1100/watermark", b"{%b,%b}" % (moment, moment), put=True
    )
    assert (status, json.loads(body)["code"]) == (400, "malformed_watermark")


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        (b'{"reference":"\\ud800"}', "bad_format"),
        (b'{"number":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "bad_format"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "bad_format"),
        (b'{"reference":"\xff"}', "bad_format"),
        (b'{"total":%b}' % (b"9" * 10_000), "out_of_range"),
    ],
    ids=["surrogate", "deep list", "deep object", "no UTF-8", "huge integer"],
)
async def test_d23_an_item_that_cannot_be_read(service: Service, odd: bytes, code: str) -> None:
    """Only that item is invalid, in a batch as in a stream; alone it is a client's error."""
    for answer in await in_bulk(service, odd):
        assert told(answer) == [("", code)]
    status, _ = await send(service, "/v1/verify", odd)
    assert status in (400, 422)


async def test_d23_unreadable_json_is_the_request_s_fault(service: Service) -> None:
    """A batch that is no JSON as a whole is 400, cut off or with garbage in an item."""
    for body in (b'{"invoices":[%b,' % GOOD, b'{"invoices":[%b,{"number":nonsense}]}' % GOOD):
        status, answer = await send(service, "/v1/verify/batch", body)
        assert (status, json.loads(answer)["code"]) == (400, "malformed_json")


async def test_d26_a_scan_that_was_cut(service: Service) -> None:
    """Six fields of a scan find the invoice of a 20-digit number, without a word on a checksum."""
    day = DIGITAL["date"].replace("-", "")
    scan = f"01,31,,{DIGITAL['number']},{DIGITAL['total']},{day}"
    status, answer = await service.ask({"qr": scan})
    assert (status, answer["verdict"], answer["hints"]) == (200, "match", [])


async def test_a_summary_says_how_many_matches_may_be_used(service: Service) -> None:
    """Matches are counted by whether they may be used, and if not, for which status."""
    expected: dict[str, int] = {"usable": 0, "voided": 0, "red_flushed": 0, "red_letter": 0}
    questions = []
    for line in map(json.loads, LINES):
        given = {
            name: line[name]
            for name in ("kind", "code", "number", "date", "amount", "total", "check_code")
            if line.get(name)
        }
        questions.append(given)
    for _ in range(2):  # from the replicas, then from memory
        _, body = await send(
            service, "/v1/verify/batch", json.dumps({"invoices": questions}).encode()
        )
        answer = json.loads(body)
        counted = dict(expected)
        for result in answer["results"]:
            if result["verdict"] == "match":
                counted["usable" if result["usable"] else result["status"]] += 1
        assert answer["summary"]["matches"] == counted
        assert min(counted.values()) > 0
