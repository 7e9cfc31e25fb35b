"""Access: who is let in, on every route, and how soon a worker hears of a key."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.e2e import raw
from tests.e2e.keyring import ON, PEPPER, bearer, known, new_key, revoke
from tests.e2e.process import serving
from tests.e2e.support import NDJSON, Service, running
from tests.ledger.support import replay_paused
from tests.support import Database, connected, variables
from verifier.access.keys import Scope, checksum
from verifier.api.server.route import Route
from verifier.app import service as app
from verifier.config import Config
from verifier.database.migrate import migrate
from verifier.synthetic import example

JSON = {"Content-Type": "application/json"}
UNKNOWN = f"ivk_live_{'0' * 30}{checksum('0' * 30)}"

# Routes that everybody may ask: what an orchestrator probes, and the document of the API.
OPEN = {"livez", "readyz", "startupz", "openapi"}


class Request(NamedTuple):
    """How a route is asked, and what a good key gets."""

    path: str
    scope: Scope
    method: str = "POST"
    body: bytes = b""
    headers: dict[str, str] = JSON
    status: int = 200


QUESTION = example.QUESTION.encode()
REQUESTS = {
    "verify": Request("/v1/verify", "verify", body=QUESTION),
    "batch": Request("/v1/verify/batch", "verify", body=b'{"invoices":[%b]}' % QUESTION),
    "stream": Request("/v1/verify/stream", "verify", body=QUESTION),
    "usage": Request("/v1/usage", "verify", "GET"),
    "limits": Request("/v1/limits", "verify", "GET"),
    "freshness": Request("/v1/freshness", "verify", "GET"),
    "invoices": Request("/v1/ledger/invoices", "ingest", body=example.LINE, headers=NDJSON),
    # Of an invoice that is not there: the key is good all the same.
    "status": Request("/v1/ledger/status", "ingest", body=b"{}", headers=NDJSON, status=422),
    "watermark": Request(
        "/v1/ledger/regions/1100/watermark",
        "watermark",
        "PUT",
        b'{"complete_until": "2026-03-01T00:00:00Z"}',
    ),
    "metrics": Request("/metrics", "metrics", "GET"),
}


def routes() -> list[Route]:
    """All that a service answers."""
    return app.Service(Config.of(primary_dsn="postgresql:///nowhere", key_peppers=(PEPPER,))).routes


def test_every_route_is_stated_here() -> None:
    """A new one has its scope in this table, or is one of the few that are open."""
    found = {route.name: route.scope for route in routes()}
    assert found == dict.fromkeys(OPEN) | {
        name: request.scope for name, request in REQUESTS.items()
    }


class Held(NamedTuple):
    """A service, and a key of each kind by its name."""

    service: Service
    keys: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held(shared_ledger: Database) -> AsyncIterator[Held]:
    """Serve with keys of all kinds."""
    scopes: tuple[Scope, ...] = ("verify", "explain", "ingest", "watermark", "metrics")
    keys = {"malformed": UNKNOWN[:-1] + "x", "unknown": UNKNOWN}
    for scope in scopes:
        keys[scope] = await new_key(shared_ledger, f"only-{scope}", scope)
        others = [each for each in scopes if each != scope]
        keys[f"all but {scope}"] = await new_key(shared_ledger, f"no-{scope}", *others)
    past = datetime.now(UTC) - timedelta(seconds=1)
    keys["expired"] = await new_key(shared_ledger, "expired", *scopes, expires_at=past)
    keys["revoked"] = await new_key(shared_ledger, "revoked", *scopes)
    await revoke(shared_ledger, keys["revoked"])
    async with running(shared_ledger, **ON) as service:
        yield Held(service, keys)


async def send(
    service: Service, request: Request, headers: dict[str, str]
) -> tuple[int, str, str | None]:
    """Status, the code of a problem, and the challenge."""
    async with service.session.request(
        request.method,
        service.url + request.path,
        data=request.body or None,
        headers=request.headers | headers,
    ) as response:
        body = await response.read()
        problem = response.content_type == "application/problem+json"
        code = json.loads(body)["code"] if problem else ""
        return response.status, code, response.headers.get("WWW-Authenticate")


INVALID = 'Bearer realm="verifier", error="invalid_token"'


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", REQUESTS)
class TestEachRoute:
    """Whoever asks it."""

    async def test_without_a_key(self, held: Held, name: str) -> None:
        """It is 401, with the scheme and no error (RFC 6750 §3.1)."""
        said = await send(held.service, REQUESTS[name], {})
        assert said == (401, "no_key", 'Bearer realm="verifier"')

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("malformed", "wrong_key"),
            ("unknown", "wrong_key"),
            ("expired", "expired_key"),
            ("revoked", "revoked_key"),
        ],
    )
    @pytest.mark.parametrize("field", ["Authorization", "X-API-Key"])
    async def test_with_a_bad_key(
        self, held: Held, name: str, kind: str, code: str, field: str
    ) -> None:
        """It is 401 in either field, and says which way it is bad."""
        value = held.keys[kind] if field == "X-API-Key" else f"bearer  {held.keys[kind]}"
        said = await send(held.service, REQUESTS[name], {field: value})
        assert said == (401, code, INVALID)

    async def test_with_all_other_scopes(self, held: Held, name: str) -> None:
        """It is 403, and names the one that is needed."""
        scope = REQUESTS[name].scope
        said = await send(held.service, REQUESTS[name], bearer(held.keys[f"all but {scope}"]))
        challenge = f'Bearer realm="verifier", error="insufficient_scope", scope="{scope}"'
        assert said == (403, "wrong_scope", challenge)

    @pytest.mark.parametrize("field", ["Authorization", "X-API-Key"])
    async def test_with_its_scope_alone(self, held: Held, name: str, field: str) -> None:
        """It is answered, in either field."""
        request = REQUESTS[name]
        key = held.keys[request.scope]
        said = await send(
            held.service, request, {field: key if field == "X-API-Key" else f"Bearer {key}"}
        )
        assert (said[0], said[2]) == (request.status, None)


@pytest.mark.asyncio(loop_scope="module")
class TestFields:
    """What may be sent where a key is expected."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"Authorization": "Basic dTpw"},
            {"Authorization": "KEY"},
            {"Authorization": "Bearer KEY", "X-API-Key": "OTHER"},
            {"Authorization": "Basic dTpw", "X-API-Key": "KEY"},
        ],
    )
    async def test_anything_else_is_no_key(self, held: Held, fields: dict[str, str]) -> None:
        """Another scheme, none, and two keys: nobody guesses which one is meant."""
        good, other = held.keys["verify"], held.keys["all but ingest"]
        given = {
            name: value.replace("KEY", good).replace("OTHER", other)
            for name, value in fields.items()
        }
        said = await send(held.service, REQUESTS["verify"], given)
        assert said[:2] == (401, "no_key")

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/openapi.json"])
    async def test_open_routes_look_at_no_key(self, held: Held, path: str) -> None:
        """A bad one is not refused there."""
        request = Request(path, "verify", "GET", headers={})
        assert (await send(held.service, request, bearer("nonsense")))[0] == 200

    async def test_a_refused_request_is_refused_before_its_body(self, held: Held) -> None:
        """Who has no key cannot have us read a large one."""
        port = int(held.service.url.rpartition(":")[2])
        head = "POST /v1/verify/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        writer.close()


def asking(key: str) -> bytes:
    """A question in one piece, always with the same head."""
    return raw.request("/v1/verify", QUESTION, f"Authorization: Bearer {key}")


async def status(reader: asyncio.StreamReader) -> int:
    """The status of the next answer on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    await reader.readexactly(int(head.lower().partition("content-length: ")[2].split()[0]))
    return int(head.split()[1])


async def test_a_revoked_key_is_refused_on_a_connection_that_is_kept(database: Database) -> None:
    """Within the staleness bound, though the front desk knows the head by heart."""
    await migrate(database.primary_dsn)
    key = await new_key(database, "erp", "verify", "metrics", "explain")
    async with running(database, **ON) as service:
        port = int(service.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(5):
            writer.write(asking(key))
            assert await status(reader) == 200
        async with service.session.get(f"{service.url}/metrics", headers=bearer(key)) as response:
            shown = (await response.text()).splitlines()
        assert 'verifier_single_questions_total{way="desk"} 5.0' in shown
        await revoke(database, key)
        async with asyncio.timeout(Config().staleness.max_staleness):
            while True:
                writer.write(asking(key))
                if (now := await status(reader)) != 200:
                    break
                await asyncio.sleep(0.01)
        assert now == 401
        writer.close()


async def test_a_new_key_works_within_the_staleness_bound(database: Database) -> None:
    """Until then it is unknown."""
    async with running(database, **ON) as service:
        key = await new_key(database, "erp", "verify")
        await known(service, key, 422)


async def test_a_new_key_works_while_the_replicas_stand_still(database: Database) -> None:
    """The primary tells of it."""
    async with running(database, **ON) as service, replay_paused(database):
        key = await new_key(database, "erp", "verify")
        await known(service, key, 422)
        await revoke(database, key)
        await known(service, key, 401)


async def served(settings: Mapping[str, object], *options: str) -> subprocess.CompletedProcess[str]:
    """``verifier serve`` that is not to begin."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "verifier", "serve", "--port", "0", *options],
        env=os.environ | variables(**settings),
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
@pytest.mark.parametrize(
    ("pepper", "message"),
    [
        ("", "VERIFIER_KEY_PEPPERS is not set"),
        ("short", "number 1 has 5 characters"),
        (PEPPER, "verifier keys create TENANT NAME"),
    ],
)
async def test_a_service_that_nobody_could_ask_does_not_begin(
    database: Database, pepper: str, message: str, options: tuple[str, ...]
) -> None:
    """Without a pepper or a live key; one line says what to do."""
    await migrate(database.primary_dsn)
    revoked = await new_key(database, "erp", "verify")
    await revoke(database, revoked)
    settings = {"primary_dsn": database.primary_dsn, "auth": "on", "key_peppers": pepper}
    result = await served(settings, *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("verifier: ")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


async def test_without_keys_everybody_is_warned(database: Database, tmp_path: Path) -> None:
    """By a line of the log that names the setting, and by the probe of readiness."""
    file = tmp_path / "log"
    with file.open("wb") as log:
        async with serving(database, log=log, auth="off") as process:
            ready = raw.document(
                await raw.said(
                    process.port, raw.request("/readyz", b"", "Connection: close", method="GET")
                )
            )
    assert ready == {"ready": True, "auth": "off"}
    lines = [line for line in file.read_text().splitlines() if "VERIFIER_AUTH=off" in line]
    assert len(lines) == 1
    assert "warning" in lines[0]
    assert "whoever reaches the port may ask" in lines[0]


async def test_with_keys_readiness_says_nothing_of_them(database: Database) -> None:
    """As it should be is not worth a word."""
    async with (
        running(database, **ON) as service,
        service.session.get(f"{service.url}/readyz") as response,
    ):
        assert await response.json() == {"ready": True}


async def test_no_log_has_a_key(database: Database, tmp_path: Path) -> None:
    """Whatever is asked with good and bad ones, and in heads that cannot be read."""
    await migrate(database.primary_dsn)
    good = await new_key(database, "erp", "verify")
    file = tmp_path / "log"
    field = f"Authorization: Bearer {good}"
    requests = [
        asking(good) * 3,
        asking(UNKNOWN),
        asking(good[:-1]),
        raw.request("/v1/verify", b"nonsense", field),
        raw.request(f"/v1/nowhere?key={good}", b"{}", field),
        raw.request("/v1/verify", b"{}", field, method="PATCH"),
        raw.request("/v1/verify", b"{}", f"{field}\0"),
        raw.request("/v1/verify", b"{}", f"{field} \xff"),
        raw.request("/v1/verify", b"{}", f"X-API-Key {good}"),
        raw.request("/v1/verify", b"{}", field, f"X: {good * 400}"),
        raw.request(f"/{good} x y", b"{}", field),
        raw.request("/v1/verify", b"{}", field, "Transfer-Encoding: chunked"),
        f"{good}\r\n\r\n".encode(),
        f"POST /v1/verify HTTP/1.1\r\n{good}: x\r\n {good}\r\n\r\n".encode(),
        f"Bearer {good} \xff\r\n{field}\r\n\r\n".encode(),
    ]
    on = {**ON, "key_peppers": PEPPER, "log_level": "debug", "refusal_lines": 1_000}
    said = b""
    with file.open("wb") as log:
        async with serving(database, log=log, **on) as process:
            for request in requests:
                said += await raw.said(process.port, request, shutdown=True)
    written = file.read_text()
    assert written.count("request refused") >= 5
    for key in (good, UNKNOWN):
        # Neither whole nor without its ends.
        assert key[12:36] not in written
        assert key[12:36].encode() not in said
    assert PEPPER not in written


async def test_a_key_in_the_table_of_another_pepper_is_unknown(database: Database) -> None:
    """Whoever writes the table needs the pepper too, to make a key that lets anybody in."""
    await migrate(database.primary_dsn)
    key = await new_key(database, "erp", "verify")
    async with connected(database.primary_dsn) as connection:
        await connection.execute(
            "INSERT INTO access_key (tenant, name, mode, digest, scopes) "
            "SELECT tenant, 'forged', mode, sha256($1::text::bytea), scopes FROM access_key",
            UNKNOWN,
        )
    async with running(database, **ON) as service:
        await known(service, key, 422)
        assert (await service.ask({}, **bearer(UNKNOWN)))[0] == 401
