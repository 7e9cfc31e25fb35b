"""What the tests of the ledger share: lines, blocks, configurations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from tests.support import Database
from verifier.config import Config
from verifier.ledger.feed import Rejection


def number(sequence: int) -> str:
    """A 20-digit number of Beijing, 2026."""
    return f"2611{sequence:016d}"


def line(sequence: int, **changes: Any) -> bytes:
    """A line of the feed for the invoice ``number(sequence)``."""
    given = {
        "kind": "digital_ordinary",
        "code": "",
        "number": number(sequence),
        "date": "2026-03-01",
        "amount": "100.00",
        "tax": "13.00",
        "total": "113.00",
        "check_code": "",
        "seller_tax_id": "91110108MA01ABCD12",
        "seller_name": "测试销售有限公司",
        "buyer_tax_id": "",
        "buyer_name": "测试个人",
        "status": "normal",
    }
    return msgspec.json.encode({**given, **changes})


def red_letter(sequence: int, blue: int, **changes: Any) -> bytes:
    """A line for a red letter that takes ``number(blue)`` back."""
    return line(
        sequence,
        amount="-100.00",
        tax="-13.00",
        total="-113.00",
        status="red_letter",
        red_letter_of={"code": "", "number": number(blue)},
        **changes,
    )


def status_line(sequence: int, status: str, red: int | None = None) -> bytes:
    """A line that gives ``number(sequence)`` another status."""
    given: dict[str, Any] = {"code": "", "number": number(sequence), "status": status}
    if red is not None:
        given["red_letter"] = {"code": "", "number": number(red)}
    return msgspec.json.encode(given)


async def blocks(lines: Iterable[bytes], lines_per_block: int = 500) -> AsyncIterator[bytes]:
    """The lines as the feed takes them."""
    kept: list[bytes] = []
    for each in lines:
        kept.append(each)
        if len(kept) == lines_per_block:
            yield b"\n".join(kept)
            kept = []
    if kept:
        yield b"\n".join(kept)


def config(database: Database, **changes: Any) -> Config:
    """A configuration for tests: quick probes, short bounds."""
    given: dict[str, Any] = {
        "primary_dsn": database.primary_dsn,
        "replica_dsns": database.replica_dsns,
        "probe_interval": 0.05,
        "query_timeout": 0.5,
        "connect_timeout": 1.0,
    }
    return Config(**{**given, **changes})


def named(rejections: Iterable[Rejection]) -> list[tuple[int, str, str]]:
    """Line, field and code of each error."""
    return [(each.line, error.field, error.code) for each in rejections for error in each.errors]


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
