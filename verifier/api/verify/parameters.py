"""Parameters of the requests that ask questions, for OpenAPI."""

from __future__ import annotations

from verifier.api.server.shapes import Parameter
from verifier.api.verify.timeouts import HEADER as HEADER_OF_TIMEOUT
from verifier.wire.tokens import HEADER

# Asks for a response field of the same name.
SERVER_TIMING = "Server-Timing"

TOKEN = Parameter(
    HEADER, "header", "A token from a ledger feed: the answer sees at least that state."
)

TIMEOUT = Parameter(
    HEADER_OF_TIMEOUT,
    "header",
    "For how many milliseconds the caller waits, at most what the service allows. What cannot be "
    "read in that time is `unavailable` with the reason `timeout`, and is not read any more.",
    pattern=r"^[1-9]\d{0,8}$",
)

TIMING = Parameter(
    SERVER_TIMING,
    "header",
    "1 asks for a field of that name in the response, with the milliseconds of each step: parse, "
    "memory, load, judge and write (which ends with the bytes of the answer).",
)
