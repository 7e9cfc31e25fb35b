"""Limits over HTTP: what a key and its tenant may ask, what is said of it, and what it costs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple

import jsonschema_rs
import pytest

from tests.e2e import raw
from tests.e2e.keyring import ON, PEPPER, bearer, store_of
from tests.e2e.support import Json, Service, running
from tests.e2e.test_overload import said_to, saturated
from tests.support import Database, variables
from verifier.access.keys import Scope
from verifier.access.rows import Limit
from verifier.config import Config
from verifier.database.migrate import migrate

SCOPES: tuple[Scope, ...] = ("verify", "explain", "metrics")
# So slow that nothing comes back while a test runs.
SLOW = 0.001
QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"
BAD = {"number": "12"}
ABSENT = {"number": "26112243396243851343", "date": "2026-10-01", "total": "1.00"}


class Reply(NamedTuple):
    """What came back; fields by their names in small letters."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """The body."""
        document: Json = json.loads(self.body)
        return document


class Held(NamedTuple):
    """A service, and a key of a tenant."""

    service: Service
    key: str

    async def post(self, path: str, body: bytes, **fields: str) -> Reply:
        """Ask an endpoint with the key."""
        async with self.service.session.post(
            f"{self.service.url}/v1/{path}", data=body, headers=bearer(self.key) | fields
        ) as response:
            return await _reply(response)

    async def get(self, path: str) -> Reply:
        """Get something with the key."""
        async with self.service.session.get(
            f"{self.service.url}{path}", headers=bearer(self.key)
        ) as response:
            return await _reply(response)

    async def value(self, metric: str) -> float:
        """A metric; 0 when there is none."""
        return raw.value((await self.get("/metrics")).body.decode(), metric)


async def _reply(response: Any) -> Reply:
    fields = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, fields, await response.read())


@asynccontextmanager
async def held(
    database: Database,
    limit: Limit | None,
    tenant: Limit | None = None,
    scopes: Sequence[Scope] = SCOPES,
    **settings: Any,
) -> AsyncIterator[Held]:
    """Serve a key that has a limit, of a tenant that may have one."""
    await migrate(database.primary_dsn)
    async with store_of(database) as store:
        await store.create_tenant("acme", tenant)
        key = await store.create_key("acme", "erp", "live", scopes, limit=limit)
    async with running(database, **ON | settings) as service:
        yield Held(service, key)


def batch(count: int, item: Json = ABSENT) -> bytes:
    """A batch of so many questions."""
    return json.dumps({"invoices": [item] * count}).encode()


def lines(count: int) -> bytes:
    """So many questions for a stream."""
    return b"\n".join([json.dumps(ABSENT).encode()] * count)


ONE = json.dumps(ABSENT).encode()


async def replies(port: int, requests: Sequence[Sequence[bytes]]) -> list[Reply]:
    """What is said on one connection to requests, each of which is sent in some pieces."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = []
    for pieces in requests:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if line)
            fields = {name.lower(): value for name, value in fields.items()}
            body = await reader.readexactly(int(fields["content-length"]))
        said.append(Reply(int(head[0].split()[1]), fields, body))
    writer.close()
    return said


@pytest.mark.parametrize(
    ("way", "more", "cut"),
    [
        ("desk", (), 0),
        ("aiohttp", (), 5),
        ("aiohttp", ("Server-Timing: x",), 0),
        ("aiohttp", ("Connection: close",), 0),
    ],
    ids=["desk", "in pieces", "timed", "closing"],
)
async def test_single_answers_say_what_is_left(
    database: Database, way: str, more: tuple[str, ...], cut: int
) -> None:
    """Whichever way they take; once the limit is used up it is 429, with the time it takes."""
    async with held(database, Limit(SLOW, 2)) as at:
        port = int(at.service.url.rpartition(":")[2])
        request = raw.request("/v1/verify", ONE, f"Authorization: Bearer {at.key}", *more)
        pieces = [request[:-cut], request[-cut:]] if cut else [request]
        if "Connection: close" in more:
            said = [(await replies(port, [pieces]))[0] for _ in range(3)]
        else:
            said = await replies(port, [pieces] * 3)
        assert [each.status for each in said] == [200, 200, 429]
        assert await at.value(f'verifier_single_questions_total{{way="{way}"}}') == 2
    policies = {each.fields["ratelimit-policy"] for each in said}
    assert policies == {'"key";q=2;w=2000'}
    assert said[0].fields["ratelimit"].startswith('"key";r=1;t=')
    wait = said[2].fields["retry-after"]
    assert said[2].fields["ratelimit"] == f'"key";r=0;t={wait}'
    assert 990 <= int(wait) <= 1000


async def test_a_batch_says_what_is_left(database: Database) -> None:
    """Of the key and of the tenant, and it costs as many units as it has items."""
    async with held(database, Limit(SLOW, 10), Limit(SLOW, 50)) as at:
        reply = await at.post("verify/batch", batch(7))
        assert reply.status == 200
        assert reply.fields["ratelimit-policy"] == '"key";q=10;w=10000, "tenant";q=50;w=50000'
        assert reply.fields["ratelimit"].startswith('"key";r=3;t=')
        assert '"tenant";r=43;t=' in reply.fields["ratelimit"]


async def test_the_head_of_a_stream_says_what_is_left(database: Database) -> None:
    """Before anything is taken for it."""
    async with held(database, Limit(SLOW, 10)) as at:
        reply = await at.post("verify/stream", lines(4))
        assert reply.status == 200
        assert reply.fields["ratelimit-policy"] == '"key";q=10;w=10000'
        assert reply.fields["ratelimit"].startswith('"key";r=10;t=')
        (limit,) = (await at.get("/v1/limits")).json["limits"]
        assert limit["remaining"] == 6


@pytest.mark.parametrize("whose", ["key", "tenant"])
@pytest.mark.parametrize(("path", "body"), [("verify", ONE), ("verify/batch", batch(1))])
async def test_a_refusal_is_the_problem_of_its_specification(
    database: Database, whose: str, path: str, body: bytes
) -> None:
    """Its type and members are the draft's, and the service's own document describes it."""
    limit = Limit(SLOW, 1)
    limits = (limit, None) if whose == "key" else (None, limit)
    async with held(database, *limits) as at:
        assert (await at.post(path, body)).status == 200
        reply = await at.post(path, body)
        document = (await at.get("/openapi.json")).json
    problem = reply.json
    assert (reply.status, reply.fields["content-type"]) == (429, "application/problem+json")
    assert (problem["type"], problem["code"]) == (QUOTA, "quota_exceeded")
    assert problem["violated-policies"] == [whose]
    assert str(problem["retry_after"]) == reply.fields["retry-after"]
    described = document["paths"][f"/v1/{path}"]["post"]["responses"]["429"]
    assert "Retry-After" in described["headers"]
    schema = described["content"]["application/problem+json"]["schema"]
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(problem)


async def test_a_batch_over_the_limit_is_refused_before_anything_is_read(
    database: Database,
) -> None:
    """All of it; nothing is looked up and nothing charged, so that a smaller one is admitted."""
    async with held(database, Limit(SLOW, 10)) as at:
        assert (await at.post("verify/batch", batch(4))).status == 200
        looked = await at.value("verifier_query_keys_count")
        lookups = await at.value('verifier_cache_lookups_total{outcome="miss"}')
        for _ in range(3):
            assert (await at.post("verify/batch", batch(7, BAD | ABSENT))).status == 429
        assert await at.value("verifier_query_keys_count") == looked
        assert await at.value('verifier_cache_lookups_total{outcome="miss"}') == lookups
        assert (await at.post("verify/batch", batch(6))).status == 200


async def test_what_is_refused_is_neither_offered_load_nor_used(database: Database) -> None:
    """A 429 says nothing of how much the service could do, and nobody pays for it."""
    async with held(database, Limit(SLOW, 3), exchange_interval=0.1) as at:
        assert (await at.post("verify", ONE)).status == 200
        assert (await at.post("verify/batch", batch(2))).status == 200
        for _ in range(3):
            assert (await at.post("verify", ONE)).status == 429
            assert (await at.post("verify/batch", batch(2))).status == 429
        for endpoint, offered in (("verify", 1), ("batch", 2)):
            label = f'{{endpoint="{endpoint}"}}'
            assert await at.value(f"verifier_offered_questions_total{label}") == offered
            assert await at.value(f"verifier_refused_questions_total{label}") == 0
            counted = f'verifier_http_errors_total{{code="quota_exceeded",route="{endpoint}"}}'
            assert await at.value(counted) == 3
        async with asyncio.timeout(10):
            while (report := (await at.get("/v1/usage")).json)["total"] < 3:
                await asyncio.sleep(0.05)
        assert report["total"] == 3


async def test_what_admission_refuses_costs_nothing(database: Database) -> None:
    """By the desk and past it: what is missing of the limit is what was answered."""
    async with held(database, Limit(SLOW, 100_000), standing_delay=0.001) as at:
        asking = [f"Authorization: Bearer {at.key}", "Connection: close"]
        desk = raw.request("/v1/verify", raw.QUESTION, asking[0])
        other = raw.request("/v1/verify", raw.QUESTION, *asking)
        many = raw.request("/v1/verify/batch", batch(3, BAD), *asking)
        said: Counter[tuple[bool, int]] = Counter()
        async with saturated(), asyncio.timeout(30):
            while min(said[is_many, 503] for is_many in (False, True)) < 5:
                answers = await said_to(at.service, *[desk, other] * 8, *[many] * 2)
                for place, (status, _) in enumerate(answers):
                    said[place >= 16, status] += 1
        (limit,) = (await at.get("/v1/limits")).json["limits"]
    assert limit["remaining"] == 100_000 - said[False, 422] - 3 * said[True, 200]


async def test_a_question_that_cannot_be_read_costs_one_unit(database: Database) -> None:
    """At the desk too, which leaves the refusal to the handler."""
    async with held(database, Limit(SLOW, 3)) as at:
        port = int(at.service.url.rpartition(":")[2])
        request = raw.request("/v1/verify", b"{", f"Authorization: Bearer {at.key}")
        said = await replies(port, [[request]] * 4)
        assert [each.status for each in said] == [400, 400, 400, 429]
        assert await at.value('verifier_offered_questions_total{endpoint="verify"}') == 3


async def test_a_stream_over_the_limit_slows_down(database: Database) -> None:
    """It takes as long as its questions are admitted, is never refused, and ends complete."""
    async with held(database, Limit(200.0, 100)) as at:
        began = monotonic()
        reply = await at.post("verify/stream", lines(500))
        took = monotonic() - began
    *results, end = map(json.loads, reply.body.splitlines())
    assert (reply.status, len(results), end["complete"]) == (200, 500, True)
    assert 400 / 200 - 0.5 <= took <= 500 / 200 + 0.5


async def test_a_stream_that_waits_for_its_limit_ends_when_the_service_does(
    database: Database,
) -> None:
    """With an incomplete summary, as any stream."""
    async with held(database, Limit(SLOW, 1)) as at:
        port = int(at.service.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ask = f"Authorization: Bearer {at.key}"
        head = raw.request("/v1/verify/stream", b"", ask, "Transfer-Encoding: chunked")
        head = head.replace(b"Content-Length: 0\r\n", b"")
        # The first one is admitted, and leaves nothing for the second.
        for _ in range(2):
            writer.write(head + b"%x\r\n%b\n\r\n" % (len(ONE) + 1, ONE))
            head = b""
            await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        said = await reader.read()
    writer.close()
    assert b'"complete":false,"reason":"closing"' in said


async def test_a_tenant_s_limit_changes_without_a_restart(database: Database) -> None:
    """`verifier tenants limits` reaches the service within the staleness bound."""
    async with held(database, None) as at:
        assert "ratelimit" not in (await at.post("verify", ONE)).fields
        for options, policy in (
            (("--rate", "5", "--burst", "50"), '"tenant";q=50;w=10'),
            (("--rate", "5", "--burst", "100"), '"tenant";q=100;w=20'),
            (("--none",), None),
        ):
            await command(database, "tenants", "limits", "acme", *options)
            async with asyncio.timeout(Config().staleness.max_staleness):
                while (await at.post("verify", ONE)).fields.get("ratelimit-policy") != policy:
                    await asyncio.sleep(0.01)


async def test_a_caller_is_told_its_limits(database: Database) -> None:
    """Which costs nothing, also when nothing is left."""
    async with held(database, Limit(SLOW, 2), Limit(4.0, 20), ("verify", "explain")) as at:
        assert (await at.post("verify/batch", batch(2))).status == 200
        for _ in range(3):
            reply = await at.get("/v1/limits")
            assert reply.status == 200
        assert reply.fields["ratelimit-policy"] == '"key";q=2;w=2000, "tenant";q=20;w=5'
        told = reply.json
    key, tenant = told.pop("limits")
    assert told.pop("key")
    assert told == {
        "tenant": "acme",
        "scopes": ["explain", "verify"],
        "expires_at": None,
        "held_back": False,
    }
    assert 1990 <= key.pop("reset") <= 2000
    assert key == {"policy": "key", "rate": SLOW, "burst": 2, "remaining": 0}
    assert 0 <= tenant.pop("reset") <= 0.5
    assert (tenant["policy"], tenant["rate"], tenant["burst"]) == ("tenant", 4.0, 20)


async def test_without_limits_nothing_is_said_of_them(database: Database) -> None:
    """No fields, and a list without any."""
    async with held(database, None) as at:
        for path, body in (
            ("verify", ONE),
            ("verify/batch", batch(2)),
            ("verify/stream", lines(2)),
        ):
            reply = await at.post(path, body)
            assert reply.status == 200
            assert not {"ratelimit", "ratelimit-policy"} & reply.fields.keys()
        assert (await at.get("/v1/limits")).json["limits"] == []


async def command(database: Database, *argv: str) -> None:
    """Run the program, as an operator does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "verifier", *argv),
        env=os.environ | variables(primary_dsn=database.primary_dsn, key_peppers=PEPPER),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
