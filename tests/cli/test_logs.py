"""What reaches stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from verifier.cli import logs

SECRET = "91110108MA01ABCD2X"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("name", ["aiohttp.server", "aiohttp.access", "asyncio"])
def test_lines_of_the_libraries_hold_nothing_of_a_request(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of aiohttp's and asyncio's lines stays what is constant, and where an exception passed."""
    logs.configure("debug")
    try:
        raise LookupError(SECRET)
    except LookupError:
        logging.getLogger(name).exception("failed with %s", SECRET)
    said = capsys.readouterr().err
    assert "failed with" in said
    assert "LookupError" in said
    assert "test_lines_of_the_libraries" in said
    assert SECRET not in said


@pytest.mark.parametrize("given", ["exception", "error", "another library"])
def test_d20_any_line_about_an_exception_holds_no_values(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its kind and places are said, its text and the variables of its frames are not."""
    logs.configure("debug")
    log = structlog.get_logger()
    try:
        raise LookupError(SECRET)
    except LookupError as error:
        if given == "exception":
            log.exception("failed")
        elif given == "error":
            log.error("failed", exc_info=error)
        else:
            logging.getLogger("other").exception("failed")
    said = capsys.readouterr().err
    assert "LookupError" in said
    assert "test_d20_any_line" in said
    assert SECRET not in said
