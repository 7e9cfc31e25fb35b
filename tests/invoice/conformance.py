"""The conformance set: its ledger as records, its cases as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tests.invoice.samples import READING
from verifier.invoice.identity import key_of
from verifier.wire.records import Record, build

FOLDER = Path(__file__).parent.parent / "conformance"


def read(name: str) -> list[dict[str, Any]]:
    """The objects of an NDJSON file of the set."""
    return [json.loads(line) for line in (FOLDER / name).read_bytes().splitlines()]


def record_of(line: dict[str, Any]) -> tuple[str, Record]:
    """The record of a line of the ledger, with its key."""
    row = dict(line)
    key = key_of(row.pop("code", ""), row.pop("number"))
    for name in ("seller_name", "buyer_name"):
        row[name] = msgspec.json.encode(row[name])
    origin = row.pop("red_letter_of", None)
    letters = [key_of(one["code"], one["number"]) for one in row.pop("red_letters", [])]
    return key, build(
        key,
        **row,
        red_letter_of=key_of(origin["code"], origin["number"]) if origin else "",
        red_letters=",".join(letters),
        reading=READING,
    )


LEDGER = dict(map(record_of, read("ledger.ndjson")))
CASES = read("cases.ndjson")
