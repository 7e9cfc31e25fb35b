"""The keys that ``verifier up`` begins with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.access.ground import Known, stored
from tests.support import Database, connected
from verifier.access.keys import Scope, digest, is_key, peppers_of
from verifier.access.store import Store
from verifier.cli import demo_keys
from verifier.config import Config
from verifier.database.migrate import migrate
from verifier.database.primary import Primary
from verifier.errors import ClusterError

FILES: dict[str, set[Scope]] = {
    demo_keys.ASK: {"verify", "explain", "metrics"},
    demo_keys.FEED: {"ingest", "watermark"},
}


async def ensured(database: Database, data: Path) -> Known:
    """The keys that the primary has once a start has seen to them."""
    await migrate(database.primary_dsn)
    config = Config.of(primary_dsn=database.primary_dsn, key_peppers=(demo_keys.pepper(data),))
    await demo_keys.ensure(config, data)
    async with connected(database.primary_dsn) as connection:
        return await stored(connection)


def contents(data: Path) -> dict[str, bytes]:
    """What is in the files."""
    return {file.name: file.read_bytes() for file in data.iterdir()}


def modes(data: Path) -> set[int]:
    """Who may read them."""
    return {file.stat().st_mode & 0o777 for file in data.iterdir()}


def kept(data: Path, file: str) -> str:
    """What the primary keeps of the key in a file."""
    key = (data / file).read_text("utf-8").removesuffix("\n")
    assert is_key(key)
    return digest(demo_keys.pepper(data).encode(), key).hex()


async def test_one_key_asks_and_one_feeds(database: Database, tmp_path: Path) -> None:
    """Neither may do what the other does; both are in files that only their owner reads."""
    known = await ensured(database, tmp_path)
    assert {file: set(known[kept(tmp_path, file)][0]) for file in FILES} == FILES
    assert len(known) == len(FILES)
    assert modes(tmp_path) == {0o600}
    assert set(contents(tmp_path)) == {*FILES, demo_keys.PEPPER}


async def test_a_second_start_changes_nothing(database: Database, tmp_path: Path) -> None:
    """The same files, and the same rows."""
    first = await ensured(database, tmp_path)
    files = contents(tmp_path)
    assert await ensured(database, tmp_path) == first
    assert contents(tmp_path) == files


async def test_a_crash_between_file_and_database_is_made_up_for(
    database: Database, tmp_path: Path
) -> None:
    """A key that only its file has gets into the database at the next start."""
    demo_keys._kept(tmp_path / demo_keys.ASK, "ivk_test_0123456789ABCDEFGHIJabcdefghij4Us3aw")
    known = await ensured(database, tmp_path)
    assert kept(tmp_path, demo_keys.ASK) in known


async def test_a_crash_while_a_file_is_written_is_made_up_for(
    database: Database, tmp_path: Path
) -> None:
    """What is half there is written anew."""
    (tmp_path / f"{demo_keys.ASK}.part").write_text("ivk_te")
    known = await ensured(database, tmp_path)
    assert kept(tmp_path, demo_keys.ASK) in known


async def test_a_revoked_demo_key_stays_revoked(database: Database, tmp_path: Path) -> None:
    """A start does not give back what its owner took away."""
    await ensured(database, tmp_path)
    digest_ = kept(tmp_path, demo_keys.FEED)
    config = Config.of(primary_dsn=database.primary_dsn, key_peppers=(demo_keys.pepper(tmp_path),))
    primary = Primary(config.databases, config.ingest)
    await Store(primary, peppers_of(config.access.key_peppers)).revoke_key(digest_[:8])
    await primary.close()
    known = await ensured(database, tmp_path)
    assert known[digest_][1] == 0.0
    assert len(known) == len(FILES)


def test_a_pepper_is_its_directory_s(tmp_path: Path) -> None:
    """Long enough, made once, and another one elsewhere."""
    one, other = tmp_path / "one", tmp_path / "other"
    for data in (one, other):
        data.mkdir()
    assert peppers_of((demo_keys.pepper(one),)) == (demo_keys.pepper(one).encode(),)
    assert demo_keys.pepper(one) != demo_keys.pepper(other)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Not made anew: those who have the key would be refused."""
    (tmp_path / demo_keys.PEPPER).write_bytes(b"\xff" * 40)
    with pytest.raises(ClusterError, match=f"{os.sep}{demo_keys.PEPPER} cannot be read"):
        demo_keys.pepper(tmp_path)
    (tmp_path / demo_keys.PEPPER).unlink()
    (tmp_path / demo_keys.PEPPER).mkdir()
    with pytest.raises(ClusterError, match="cannot be read"):
        demo_keys.pepper(tmp_path)


@pytest.mark.parametrize("file", [demo_keys.ASK, demo_keys.FEED])
async def test_a_file_that_holds_no_key_is_named(
    database: Database, tmp_path: Path, file: str
) -> None:
    """An empty one, or another text, would be a key with which nobody can ask."""
    (tmp_path / file).write_text("not a key\n", "utf-8")
    with pytest.raises(ClusterError, match=f"{file} holds no key"):
        await ensured(database, tmp_path)
