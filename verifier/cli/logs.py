"""Structured logs on stderr: JSON lines, or readable ones on a terminal."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from verifier.tracebacks import frames


def configure(level: str) -> None:
    """Send structlog's and the standard library's logs to stderr; ``level`` is Config.log_level."""
    terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_values,
    ]
    ending: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if terminal
        else [structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.addFilter(_without_requests)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)


def _without_values(_: object, __: str, event: EventDict) -> EventDict:
    """Keep of an exception its kind and the places it passed.

    Its text, and the variables of those places, may hold what a caller sent.
    """
    given = event.pop("exc_info", None)
    error = sys.exception() if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["error"] = type(error).__qualname__
        event["frames"] = frames(error)
    return event


def _without_requests(record: logging.LogRecord) -> bool:
    """Keep of a line of aiohttp or asyncio its constant part: the rest may quote a request."""
    if record.name.partition(".")[0] in ("aiohttp", "asyncio"):
        said = record.msg if isinstance(record.msg, str) else type(record.msg).__qualname__
        passed = frames(record.exc_info[1]) if record.exc_info and record.exc_info[1] else []
        record.msg, record.args = " < ".join([said.partition("\n")[0], *reversed(passed)]), ()
        record.exc_info = record.exc_text = None
    return True
