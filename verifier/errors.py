"""The few exceptions, each with its code.

"Absent" and "malformed" are answers, not exceptions: an exception here means that we could not
say (``Unavailable``), that the request as a whole cannot be read (``BadRequest``), or that the
operator has to mend something (the rest).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class VerifierError(Exception):
    """Base of all errors that this package raises on purpose."""

    code = "internal"


class Unavailable(VerifierError):
    """The question could not be checked. Never reported as any other verdict.

    ``reason`` is a short stable word for metrics and logs (``overloaded``, ``no_database``,
    ``timeout``, ``closing``); ``retry_after`` is in seconds.
    """

    code = "unavailable"

    def __init__(self, reason: str, retry_after: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class BadRequest(VerifierError):
    """A request that cannot be read or answered as a whole; ``code`` picks the HTTP status.

    ``members`` are more of its problem document, ``headers`` of its response.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.members = members
        self.headers = headers


class ConfigError(VerifierError):
    """A setting that cannot be used: names the variable, what was given, what was expected."""

    code = "config"


class MigrationError(VerifierError):
    """The schema cannot be brought up to date, or is newer than this program."""

    code = "migration"


class ClusterError(VerifierError):
    """The embedded PostgreSQL cannot be started or used: says what was found and expected."""

    code = "cluster"
