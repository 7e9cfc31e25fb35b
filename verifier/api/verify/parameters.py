"""Parameters of the requests that ask questions, for OpenAPI."""

from __future__ import annotations

from verifier.api.server.shapes import Parameter
from verifier.wire.tokens import HEADER

TOKEN = Parameter(
    HEADER, "header", "A token from a ledger feed: the answer sees at least that state."
)
