"""``verifier tenants`` as an operator runs it."""

from __future__ import annotations

import pytest

from tests.cli.access import Operator
from tests.support import Database
from verifier.database.migrate import migrate


@pytest.fixture
async def operator(database: Database) -> Operator:
    """Give an operator a database without tenants."""
    await migrate(database.primary_dsn)
    return Operator(database)


async def row(operator: Operator) -> list[str]:
    """The only tenant as it is listed, without the day."""
    said = await operator.tenants("list")
    heads, line = said.out.splitlines()
    assert heads.split() == ["tenant", "keys", "limit", "created"]
    return line.split()[:-2]


async def test_a_tenant_is_made(operator: Operator) -> None:
    """Without a limit; what comes next is said, apart from the output."""
    said = await operator.tenants("create", "acme")
    assert said == (0, "", "made acme; next: verifier keys create acme NAME\n")
    assert await row(operator) == ["acme", "0", "-"]


async def test_a_limit_is_set_and_taken_away(operator: Operator) -> None:
    """What may come at once is ten seconds' worth, unless it is said."""
    await operator.tenants("create", "acme", "--rate", "20")
    assert await row(operator) == ["acme", "0", "20/s,", "200", "at", "once"]
    said = await operator.tenants("limits", "acme", "--rate", "0.01", "--burst", "1500")
    assert said == (0, "", "acme: 0.01/s, 1,500 at once\n")
    assert await row(operator) == ["acme", "0", "0.01/s,", "1,500", "at", "once"]
    said = await operator.tenants("limits", "acme", "--none")
    assert said == (0, "", "acme: no limit\n")
    assert await row(operator) == ["acme", "0", "-"]


async def test_without_tenants_the_list_has_its_heads(operator: Operator) -> None:
    """A script that counts lines gets none."""
    assert (await operator.tenants("list")).out == "tenant  keys  limit  created\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "Acme"], "small letters, digits and hyphens"),
        (["create", "acme"], "there is a tenant acme already"),
        (["create", "other", "--burst", "1"], "expected --rate too"),
        (["create", "other", "--rate", "nan"], "--rate"),
        (["create", "other", "--rate", "1e300"], "--rate"),
        (["limits", "other", "--none"], "there is no tenant other"),
        (["limits", "acme"], "expected either --rate N or --none"),
        (["limits", "acme", "--rate", "1", "--none"], "expected either --rate N or --none"),
        (["limits", "acme", "--none", "--burst", "1"], "expected --rate too"),
        (["limits", "acme", "--rate", "nan", "--burst", "1"], "--rate"),
    ],
)
async def test_what_cannot_be_done_is_said(
    operator: Operator, arguments: list[str], message: str
) -> None:
    """With code 2, what was expected, and nothing changed."""
    await operator.tenants("create", "acme")
    said = await operator.tenants(*arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert await row(operator) == ["acme", "0", "-"]
