"""Fills a ledger by COPY: ``python -m bench.scale_fill TOTAL SEED UNTIL FIRST LAST``.

Rows FIRST to LAST (without) of the synthetic ledger of TOTAL rows, laid out as
`verifier ledger import` does it. Several of these run side by side.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import date
from io import BytesIO

import asyncpg
import msgspec

from verifier.synthetic.ledger import Ledger
from verifier.wire.lines import COLUMNS, Row, read

TOGETHER = 20_000


def rows(ledger: Ledger, first: int, last: int) -> BytesIO:
    """Rows in COPY's text format."""
    encode = msgspec.json.Encoder().encode
    text = []
    for index in range(first, last):
        row = read(encode(ledger.invoice(index)))
        assert isinstance(row, Row)
        text.append(row.text)
    return BytesIO("\n".join(text).encode() + b"\n")


async def main(ledger: Ledger, first: int, last: int) -> None:
    """Load them, some at a time."""
    settings = {"synchronous_commit": "off"}
    connection = await asyncpg.connect(os.environ["BENCH_DSN"], server_settings=settings)
    for at in range(first, last, TOGETHER):
        block = rows(ledger, at, min(last, at + TOGETHER))
        await connection.copy_to_table("invoice", source=block, columns=COLUMNS)
    await connection.close()


if __name__ == "__main__":
    total, seed, first, last = (int(sys.argv[at]) for at in (1, 2, 4, 5))
    asyncio.run(main(Ledger(total, seed, date.fromisoformat(sys.argv[3])), first, last))
