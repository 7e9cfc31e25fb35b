"""HTTP/1.1 read as plainly as it can be written: whatever leaves a choice is refused."""

from __future__ import annotations

import re
from typing import NamedTuple

_REQUEST = re.compile(rb"[A-Z]+ [!-~\x80-\xff]+ HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ -~]*")
_LENGTH = re.compile(rb"\d{1,18}")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Framed(NamedTuple):
    """A request: its first line and its body, None if that did not arrive as a whole."""

    line: bytes
    body: bytes | None


def requests(data: bytes) -> list[Framed]:
    """The requests that bytes on a connection are; AssertionError when that is not plain."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        if not end:
            found.append(Framed(head, None))
            break
        line, *rest = head.split(b"\r\n")
        first, fields = _REQUEST.fullmatch(line), _fields(rest)
        assert first, line
        body, data = _body(fields, data, none=b"")
        # Old readers know no chunks, and take for the next request what others take for a body.
        assert first[1] == b"1" or b"transfer-encoding" not in fields or not data, head
        found.append(Framed(line, body))
    return found


def answers(data: bytes) -> list[bytes]:
    """The bodies of responses; interim ones, and one that is cut off at the end, are none.

    AssertionError when that is not plain.
    """
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        if not end:
            break
        line, *rest = head.split(b"\r\n")
        status = _STATUS.fullmatch(line)
        assert status, line
        if status[1].startswith(b"1"):
            continue
        # Without a length it ends with the connection, as HAProxy's own refusals do.
        body, data = _body(_fields(rest), data, none=None)
        if body is not None:
            found.append(body)
    return found


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        assert field, line
        name = field[1].lower()
        framing = name in (b"content-length", b"transfer-encoding")
        assert not (framing and name in fields), line
        fields[name] = field[2].strip(b" \t")
    return fields


def _body(
    fields: dict[bytes, bytes], data: bytes, none: bytes | None
) -> tuple[bytes | None, bytes]:
    """The body at the beginning, None if it is not all there, and what is behind it.

    ``none`` is the body of a message that names no length; None for all there is.
    """
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    assert length is None or coding is None, fields
    if coding is not None:
        assert coding.lower() == b"chunked", coding
        return _chunks(data)
    if length is None:
        return (data, b"") if none is None else (none, data)
    assert _LENGTH.fullmatch(length), length
    size = int(length)
    return (data[:size], data[size:]) if len(data) >= size else (None, b"")


def _chunks(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            return None, b""
        assert _SIZE.fullmatch(line), line
        size = int(line, 16)
        if not size:
            break
        if len(data) < size + 2:
            return None, b""
        assert data[size : size + 2] == b"\r\n", data[size : size + 2]
        body, data = body + data[:size], data[size + 2 :]
    # Behind the last chunk there may be fields that mean nothing here, then an empty line.
    while not data.startswith(b"\r\n"):
        line, end, data = data.partition(b"\r\n")
        if not end:
            return None, b""
        assert _FIELD.fullmatch(line), line
    return body, data[2:]
