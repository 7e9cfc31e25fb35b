"""Opening a connection: what goes wrong is a database that cannot be reached."""

from __future__ import annotations

import getpass

import pytest

from verifier.config import Databases
from verifier.database.connections import FAILURES, open_reader


async def test_c18_a_user_that_cannot_be_looked_up_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a user in the DSN it is ours, whose name may be nowhere, or nowhere just now."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 0")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.delenv("PGUSER", raising=False)
    with pytest.raises(FAILURES, match=r"no user in the DSN.*uid not found"):
        await open_reader("postgresql://127.0.0.1:1/nowhere", Databases())
