"""One invoice that every demo ledger has, so that documents can ask about it word for word."""

from __future__ import annotations

from pathlib import Path

# Generated numbers have at most 7 as their fifth digit, so no generated row is this invoice.
# Its date is in scope until 2031 (the last 5 years, domain.md §2).
LINE = (
    '{"kind":"digital_ordinary","code":"","number":"26119000000012345678","date":"2026-03-01",'
    '"amount":"100.00","tax":"13.00","total":"113.00","check_code":"",'
    '"seller_tax_id":"91110113279109D87N","seller_name":"测试北京商贸有限公司000",'
    '"buyer_tax_id":"91130112NAKX1FXR0R","buyer_name":"测试购买有限公司0000",'
    '"status":"normal","issued_at":"2026-03-01T02:00:00Z"}\n'
).encode()

# The question that it matches.
QUESTION = '{"number": "26119000000012345678", "date": "2026-03-01", "total": "113.00"}'


def curl(url: str, key_file: Path | None) -> str:
    """A command line that asks the service at ``url`` about it, with the key of a file if any."""
    key = "" if key_file is None else f' -H "Authorization: Bearer $(cat {key_file})"'
    return f"curl -s {url}/v1/verify{key} -H 'Content-Type: application/json' -d '{QUESTION}'"
