"""The look-up: keys to Records, in one SELECT.

A row comes as one value, a JSON array: taking fourteen columns apart costs asyncpg more than all
the rest (docs/performance.md), and JSON is decoded in C. Everything in it is the text that the
judge compares, so that a row becomes a Record without a conversion. The keys go as one text too: an
array costs asyncpg a third of a microsecond for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from verifier.invoice.record import MAX_SHOWN
from verifier.state import Reading
from verifier.wire import records
from verifier.wire.records import Finding

# What may need an escape in JSON goes through to_json; all else is text that the table's checks
# keep plain. numeric(13,2) as text always has two decimals; a date is ISO text because the
# connection says so (database/connections.py). A value of bytes is not decoded twice.
LOOK_UP = f"""
SELECT convert_to(
    '["' || concat_ws(
        '","',
        key,
        kind,
        issue_date,
        amount,
        tax,
        total,
        check_code,
        seller_tax_id,
        buyer_tax_id,
        status,
        coalesce(red_letter_of, ''),
        CASE
            WHEN red_letters = '{{}}' THEN ''
            ELSE concat_ws(
                ',',
                cardinality(red_letters),
                array_to_string(red_letters[:{MAX_SHOWN}], ',')
            )
        END
    ) || '",' || to_json(seller_name)::text || ',' || to_json(buyer_name)::text || ']',
    'UTF8'
)
FROM invoice
WHERE key = ANY(string_to_array($1::text, ','))
"""  # noqa: S608 - made of constants


def asked(keys: Iterable[str]) -> str:
    """The argument of LOOK_UP; keys have digits and a hyphen, and no comma."""
    return ",".join(keys)


# In the order of records.build's arguments.
_Row = tuple[
    str, str, str, str, str, str, str, str, str, str, str, str, msgspec.Raw, msgspec.Raw
]  # fmt: skip
_rows = msgspec.json.Decoder(list[_Row])


def findings(rows: Iterable[Sequence[bytes]], reading: Reading) -> dict[str, Finding]:
    """What was found, by key."""
    build = records.build
    values = b"[%b]" % b",".join([row[0] for row in rows])
    # Spelt out: a call with a star costs as much as a tenth of what it calls.
    return {
        key: build(
            key, kind, date, amount, tax, total, check_code, seller, buyer, status, origin,
            red_letters, seller_name, buyer_name, reading,
        )
        for key, kind, date, amount, tax, total, check_code, seller, buyer, status, origin,
            red_letters, seller_name, buyer_name in _rows.decode(values)
    }  # fmt: skip
