"""Parameters of the requests that ask questions, for OpenAPI."""

from __future__ import annotations

from verifier.api.server.shapes import Parameter
from verifier.wire.tokens import HEADER

# Asks for a response field of the same name.
SERVER_TIMING = "Server-Timing"

TOKEN = Parameter(
    HEADER, "header", "A token from a ledger feed: the answer sees at least that state."
)

TIMING = Parameter(
    SERVER_TIMING,
    "header",
    "1 asks for a field of that name in the response, with the milliseconds of each step: parse, "
    "memory, load, judge and write (which ends with the bytes of the answer).",
)
