"""The look-up: keys to Records, in one SELECT.

All rows come as one value, the JSON of an array of arrays: taking a column of a row apart costs
asyncpg more than all the rest (docs/performance.md), and one value is decoded in C. Everything in
it is the text that the judge compares, so that a row becomes a Record without a conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from verifier.invoice import record
from verifier.invoice.record import Finding, Reading

# The order is that of record.build's arguments. What may need an escape in JSON goes through
# to_json; all else is text that the table's checks keep plain. numeric(13,2) as text always has two
# decimals; a date is ISO text because the connection says so (connections.py). As bytes the value
# is not decoded twice.
LOOK_UP = """
SELECT convert_to('[' || string_agg(concat(
    '["', key,
    '","', kind,
    '","', issue_date,
    '","', amount,
    '","', tax,
    '","', total,
    '","', check_code,
    '","', seller_tax_id,
    '",', to_json(seller_name),
    ',"', buyer_tax_id,
    '",', to_json(buyer_name),
    ',"', status,
    '","', red_letter_of,
    '","', array_to_string(red_letters, ','),
    '"]'
), ',') || ']', 'UTF8')
FROM invoice
WHERE key = ANY($1::text[])
"""

_Row = tuple[
    str, str, str, str, str, str, str, str, msgspec.Raw, str, msgspec.Raw, str, str, str
]  # fmt: skip
_rows = msgspec.json.Decoder(list[_Row])


def findings(result: Sequence[Any], reading: Reading) -> dict[str, Finding]:
    """What a look-up found, by key."""
    ((value,),) = result
    if value is None:
        return {}
    build = record.build
    return {row[0]: Finding(build(*row), reading) for row in _rows.decode(value)}
