"""What Schemathesis has to know of us; its process loads this by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import schemathesis

from tests.fuzz import samples
from verifier.wire.lines import Line


@schemathesis.serializer("application/x-ndjson")
def write(_: Any, value: Any) -> bytes:
    """A body of one line, which the document describes; of none for a value that is missing."""
    return b"" if value is None else json.dumps(value).encode() + b"\n"


@schemathesis.deserializer("application/x-ndjson")
def read(_: Any, response: Any) -> Any:
    """The last line of an answer; the fuzzer looks at all of them."""
    return json.loads(response.content.rstrip(b"\n").rpartition(b"\n")[2])


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """The same, with one line in four that the ledger takes: else no link has a token to follow.

    No document can say which code goes with which kind.
    """
    if context.operation.path != "/v1/ledger/invoices":
        return body
    try:
        number = len(msgspec.convert(body, Line).number)
    except msgspec.ValidationError:
        return body
    known = samples.lines()[number % samples.ROWS]
    return body if number % 4 else json.loads(known)
