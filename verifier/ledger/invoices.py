"""The look-up: keys to Records, in one SELECT.

Everything leaves PostgreSQL as the text that the judge compares, so a row becomes a Record
without a conversion in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from verifier.invoice import record
from verifier.invoice.record import Finding, Reading

# The order of the columns is that of record.build's arguments. numeric(13,2) as text always has
# two decimals; a date is ISO text because the connection says so (connections.py).
LOOK_UP = """
SELECT
    key,
    kind::text,
    issue_date::text,
    amount::text,
    tax::text,
    total::text,
    check_code,
    seller_tax_id,
    seller_name,
    buyer_tax_id,
    buyer_name,
    status::text,
    red_letter_of,
    red_letters
FROM invoice
WHERE key = ANY($1::text[])
"""


def findings(rows: Iterable[Any], reading: Reading) -> dict[str, Finding]:
    """What was found, by key."""
    build = record.build
    return {row[0]: Finding(build(*row), reading) for row in rows}
