"""``verifier keys`` as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys

import pytest

from tests.access.ground import Follower
from tests.cli.access import PEPPER, Operator
from tests.support import Database, connected, variables
from verifier.access.keys import digest, is_key, label
from verifier.database.migrate import migrate


@pytest.fixture
async def operator(database: Database) -> Operator:
    """Give an operator a database with one tenant."""
    await migrate(database.primary_dsn)
    operator = Operator(database)
    assert (await operator.tenants("create", "acme")).code == 0
    return operator


async def new_key(operator: Operator, *options: str) -> str:
    """A new key of acme's, by itself on standard output."""
    said = await operator.keys("create", "acme", "erp", *options)
    assert (said.code, said.err) == (0, "")
    key = said.out.removesuffix("\n")
    assert is_key(key)
    return key


def label_of(key: str) -> str:
    """The label of a key."""
    return label(digest(PEPPER.encode(), key))


def names_no_key(text: str, *keys: str) -> bool:
    """Whether neither a key is in a text nor what is kept of it, but for its label."""
    kept = [digest(PEPPER.encode(), key).hex() for key in keys]
    return not any(key[9:39] in text for key in keys) and not any(each[:9] in text for each in kept)


async def test_a_new_key_is_all_that_is_printed(operator: Operator) -> None:
    """So that it can be put where it belongs: `verifier keys create acme erp > key`."""
    key = await new_key(operator)
    assert key.startswith("ivk_live_")
    said = await operator.keys("show", label_of(key))
    assert re.search(r"^scopes +verify, explain$", said.out, re.MULTILINE)


async def test_what_is_asked_for_is_shown(operator: Operator) -> None:
    """By list, in a line, and by show."""
    key = await new_key(
        operator,
        "--scopes",
        "ingest, verify",
        "--mode",
        "test",
        "--rate",
        "2.5",
        "--expires",
        "90d",
    )
    listed = (await operator.keys("list")).out.splitlines()
    assert listed[0].split()[:5] == ["label", "tenant", "name", "mode", "scopes"]
    assert re.split(" {2,}", listed[1])[:7] == [
        label_of(key), "acme", "erp", "test", "verify,ingest", "2.5/s, 25 at once", "-",
    ]  # fmt: skip
    shown = (await operator.keys("show", label_of(key)[:4])).out
    assert re.search(r"^limit +2\.5/s, 25 at once$", shown, re.MULTILINE)
    assert re.search(r"^expires +20\d\d-\d\d-\d\d \d\d:\d\dZ$", shown, re.MULTILINE)
    assert re.search(r"^revoked +-$", shown, re.MULTILINE)


async def test_a_key_is_shown_once(operator: Operator) -> None:
    """What comes later names it by its label, and by nothing of which more could be made."""
    key = await new_key(operator)
    rotated = await operator.keys("rotate", label_of(key))
    assert rotated.out.count("\n") == 1
    new = rotated.out.strip()
    assert is_key(new)
    assert names_no_key(rotated.err, key, new)
    later = [
        await operator.keys("list", "--all"),
        await operator.keys("show", label_of(key)),
        await operator.keys("rotate", label_of(key)),
        await operator.keys("revoke", label_of(key)),
        await operator.keys("revoke", label_of(key)),
        await operator.keys("list", "acme", "--all"),
        await operator.keys("create", "acme", "erp"),
        await operator.keys("create", "other", "erp"),
        await operator.tenants("list"),
    ]
    said = "".join(each.out + each.err for each in later)
    assert label_of(key) in said
    assert names_no_key(said, key, new)


async def test_a_revoked_key_is_listed_with_all_others_only(operator: Operator) -> None:
    """And stays revoked."""
    key = await new_key(operator)
    said = await operator.keys("revoke", label_of(key))
    assert (said.code, said.out) == (0, "")
    assert said.err == f"{label_of(key)} (acme, erp) revoked\n"
    assert label_of(key) not in (await operator.keys("list")).out
    assert re.search(
        rf"^{label_of(key)} .* revoked 20\d\d-",
        (await operator.keys("list", "--all")).out,
        re.MULTILINE,
    )
    again = await operator.keys("revoke", label_of(key))
    assert re.match(rf"{label_of(key)} \(acme, erp\) was revoked on 20", again.err)


async def test_a_rotation_overlaps(operator: Operator, database: Database) -> None:
    """Both are live; a second rotation is refused, and at last the old one is revoked."""
    old = await new_key(operator)
    said = await operator.keys("rotate", label_of(old), "--overlap", "12h")
    assert said.err == f"{label_of(old)} (acme, erp) holds for 12h more\n"
    new = said.out.strip()
    listed = (await operator.keys("list")).out
    assert all(label_of(key) in listed for key in (old, new))
    refused = await operator.keys("rotate", label_of(new))
    assert (refused.code, refused.out) == (2, "")
    assert "2 live keys erp already" in refused.err
    await operator.keys("revoke", label_of(old))
    assert (await operator.keys("rotate", label_of(new))).code == 0
    async with connected(database.primary_dsn) as reader:
        follower = Follower(reader)
        await follower.look()
        assert len(follower.known) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "acme", "Erp"], "small letters, digits and hyphens"),
        (["create", "other", "erp"], "there is no tenant other"),
        (["create", "acme", "erp", "--scopes", "verify,all"], "expected some of verify, explain"),
        (["create", "acme", "erp", "--scopes", ""], "got none"),
        (["create", "acme", "erp", "--scopes", " , "], "got none"),
        (["create", "acme", "erp", "--mode", "prod"], "expected live or test, got 'prod'"),
        (["create", "acme", "erp", "--expires", "90"], "expected a time like 90d"),
        (["create", "acme", "erp", "--expires", "-1d"], "expected a time like 90d"),
        (["create", "acme", "erp", "--expires", "0d"], "expected some time"),
        (["create", "acme", "erp", "--expires", "٣d"], "expected a time like 90d"),
        (["create", "acme", "erp", "--expires", "9999999d"], "expected a time like 90d"),
        (["create", "acme", "erp", "--burst", "5"], "expected --rate too"),
        (["create", "acme", "erp", "--rate", "0"], "--rate"),
        (["create", "acme", "erp", "--rate", "nan"], "--rate"),
        (["create", "acme", "erp", "--rate", "inf"], "--rate"),
        (["create", "acme", "erp", "--rate", "nan", "--burst", "1"], "--rate"),
        (["create", "acme", "erp", "--rate", "1", "--burst", "9" * 30], "--burst"),
        (["show", "03AF"], "expected 4 to 8 digits of a label"),
        (["show", "0000"], "no key has that label"),
        (["revoke", "xyz"], "expected 4 to 8 digits of a label"),
        (["rotate", "0000"], "no key has that label"),
        (["rotate", "0000", "--overlap", "long"], "expected a time like 90d"),
    ],
)
async def test_what_cannot_be_done_is_said(
    operator: Operator, arguments: list[str], message: str
) -> None:
    """With code 2, what was expected, and nothing on standard output."""
    said = await operator.keys(*arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert "Traceback" not in said.err
    assert (await operator.keys("list", "--all")).out.count("\n") == 1


async def test_a_second_key_of_a_name_is_a_rotation(operator: Operator) -> None:
    """Which is what the refusal says."""
    await new_key(operator)
    said = await operator.keys("create", "acme", "erp")
    assert (said.code, said.out) == (2, "")
    assert "acme has a live key erp; expected another name, or `keys rotate`" in said.err


@pytest.mark.parametrize("command", [["create", "acme", "erp"], ["rotate", "0000"]])
@pytest.mark.parametrize(
    ("peppers", "message"),
    [("", "VERIFIER_KEY_PEPPERS is not set"), ("short", "number 1 has 5 characters")],
)
async def test_a_key_needs_a_pepper(
    operator: Operator, database: Database, command: list[str], peppers: str, message: str
) -> None:
    """And what has to be mended is said, not the pepper."""
    said = await Operator(database, key_peppers=peppers).keys(*command)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert not peppers or peppers not in said.err.replace("shorter", "")


async def test_who_only_looks_needs_no_pepper(operator: Operator, database: Database) -> None:
    """To list keys takes none; to end one does, since that is in the audit log."""
    key = await new_key(operator)
    poor = Operator(database, key_peppers="")
    assert label_of(key) in (await poor.keys("list")).out
    said = await poor.keys("revoke", label_of(key))
    assert said.code == 2
    assert said.err.startswith("verifier: VERIFIER_KEY_PEPPERS is not set")
    assert (await operator.keys("revoke", label_of(key))).code == 0


async def test_a_database_without_the_tables_says_so(database: Database) -> None:
    """In one line, as whatever a database cannot do."""
    said = await Operator(database).keys("list")
    assert said.code == 2
    assert said.err == "verifier: the primary has not the tables; expected `verifier migrate`\n"


async def test_the_program_has_the_commands(operator: Operator, database: Database) -> None:
    """As a process: one line on stderr and exit code 2 for what an operator has to mend."""
    key = await new_key(operator)
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "verifier", "keys", "create", "acme", "erp"],
        env=os.environ | variables(primary_dsn=database.primary_dsn, key_peppers=PEPPER),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("verifier: acme has a live key erp")
    assert names_no_key(result.stderr, key)


async def test_another_pepper_is_refused(operator: Operator, database: Database) -> None:
    """A key made under it would never be good, and the audit log would not verify."""
    await new_key(operator)
    other = Operator(database, key_peppers="another-pepper-of-these-tests-that-is-long")
    said = await other.keys("create", "acme", "other")
    assert (said.code, said.out) == (2, "")
    assert "under another pepper" in said.err
    both = Operator(database, key_peppers=f"another-pepper-of-these-tests-that-is-long,{PEPPER}")
    assert (await both.keys("create", "acme", "other")).code == 0
    assert (await other.keys("create", "acme", "third")).code == 0


async def test_a_key_in_the_place_of_one_that_is_held_back_is_too(
    operator: Operator, database: Database
) -> None:
    """Else a guesser would only have to rotate."""
    key = await new_key(operator)
    async with connected(database.primary_dsn) as connection:
        await connection.execute(
            "UPDATE access_key SET tight_rate = 5, tight_until = now() + interval '1 hour'"
        )
        await operator.keys("rotate", label_of(key))
        held = "SELECT count(*) FROM access_key WHERE tight_until > now()"
        assert await connection.fetchval(held) == 2
