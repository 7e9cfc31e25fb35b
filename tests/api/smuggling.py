"""Requests that two readers may take for different ones: what request smuggling is made of.

Each is a stream of bytes behind which somebody's next request comes. The forms are those of the
published attacks (CL.TE, TE.CL, TE.TE, CL.0, duplicate and malformed lengths, obsolete folding,
bare line feeds, spaces and control characters in fields, chunks that are none).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_LINE = b"POST /v1/verify HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"number":"24312000000099999999","date":"2024-03-01","total":"1.00"}'
# What an attacker would have the next reader take for a request of its own.
_HIDDEN = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def _post(fields: bytes, body: bytes) -> bytes:
    return _LINE + fields + b"\r\n\r\n" + body


_CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
_LENGTH = b"Content-Length: %d" % len(BODY)

CORPUS: Mapping[str, bytes] = MappingProxyType(
    {
        "CL.TE": _post(b"Content-Length: 6\r\nTransfer-Encoding: chunked", b"0\r\n\r\nG" + _HIDDEN),
        "TE.CL": _post(b"Transfer-Encoding: chunked\r\nContent-Length: 4", _CHUNKED + _HIDDEN),
        "TE.TE": _post(
            b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n" + _LENGTH, BODY + _HIDDEN
        ),
        "TE with a vertical tab": _post(b"Transfer-Encoding:\x0bchunked\r\n" + _LENGTH, BODY),
        "TE with a space before the colon": _post(
            b"Transfer-Encoding : chunked\r\n" + _LENGTH, BODY
        ),
        "TE with a quote": _post(b'Transfer-Encoding: "chunked"\r\n' + _LENGTH, BODY),
        "TE in a list": _post(b"Transfer-Encoding: gzip, chunked", _CHUNKED),
        "TE twice": _post(b"Transfer-Encoding: chunked, chunked", _CHUNKED + _HIDDEN),
        "TE of HTTP/1.0": b"POST /v1/verify HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"
        + _LENGTH
        + b"\r\n\r\n"
        + _CHUNKED,
        "CL.0": _post(b"Content-Length: 0", _HIDDEN),
        "no length": _post(b"X: y", BODY),
        "CL twice, equal": _post(_LENGTH + b"\r\n" + _LENGTH, BODY),
        "CL twice, different": _post(_LENGTH + b"\r\nContent-Length: 0", BODY),
        "CL as a list": _post(b"Content-Length: %d, %d" % (len(BODY), len(BODY)), BODY),
        "CL with a plus": _post(b"Content-Length: +%d" % len(BODY), BODY),
        "CL with a minus": _post(b"Content-Length: -%d" % len(BODY), BODY),
        "CL with zeros": _post(b"Content-Length: 00%d" % len(BODY), BODY),
        "CL in hexadecimal": _post(b"Content-Length: 0x%x" % len(BODY), BODY),
        "CL with a space inside": _post(b"Content-Length: 6 9", BODY),
        "CL beyond 64 bits": _post(b"Content-Length: 18446744073709551685", BODY),
        "CL folded": _post(b"Content-Length:\r\n %d" % len(BODY), BODY),
        "CL after a bare line feed": _post(b"X: y\n" + _LENGTH, BODY),
        "CL after a bare carriage return": _post(b"X: y\r" + _LENGTH, BODY),
        "CL with a null byte": _post(b"Content-Length: %d\0" % len(BODY), BODY),
        "CL under another name": _post(b"Content_Length: 0\r\n" + _LENGTH, BODY),
        "CL of a full-width name": _post("Content‑Length: 0\r\n".encode() + _LENGTH, BODY),
        "a field without a name": _post(b": x\r\n" + _LENGTH, BODY),
        "a field without a colon": _post(b"chunked\r\n" + _LENGTH, BODY),
        "a first field that is folded": _LINE.replace(b"Host", b" Host")
        + _LENGTH
        + b"\r\n\r\n"
        + BODY,
        "a head that ends in line feeds": _LINE.replace(b"\r", b"")
        + _LENGTH
        + b"\n\n"
        + BODY,
        "line feeds, then the end of a head": _LINE + b"A: b\n\n" + _LENGTH + b"\r\n\r\n" + BODY,
        "two hosts": _post(b"Host: y\r\n" + _LENGTH, BODY),
        "a chunk size with a sign": _post(
            b"Transfer-Encoding: chunked", b"+5\r\nhello\r\n0\r\n\r\n"
        ),
        "a chunk size of many digits": _post(
            b"Transfer-Encoding: chunked", b"000000000000000000005\r\nhello\r\n0\r\n\r\n"
        ),
        "a chunk extension": _post(
            b"Transfer-Encoding: chunked", b"5;a=\r\nhello\r\n0\r\n\r\n" + _HIDDEN
        ),
        "a chunk without its end": _post(b"Transfer-Encoding: chunked", b"5\r\nhelloX0\r\n\r\n"),
        "trailers that name a length": _post(
            b"Transfer-Encoding: chunked", b"0\r\nContent-Length: 40\r\n\r\n" + _HIDDEN
        ),
        "spaces before the method": b" " + _post(_LENGTH, BODY),
        "a space at the end of the line": _post(_LENGTH, BODY).replace(b"1.1\r\n", b"1.1 \r\n", 1),
        "HTTP/0.9": b"POST /v1/verify\r\n\r\n" + _HIDDEN,
        "a version of two digits": _post(_LENGTH, BODY).replace(b"HTTP/1.1", b"HTTP/1.10", 1),
        "an upgrade with a body": _post(
            b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + _LENGTH, BODY + _HIDDEN
        ),
        "Expect with a body": _post(b"Expect: 100-continue\r\n" + _LENGTH, BODY + _HIDDEN),
        "a connection field that names the length": _post(
            b"Connection: Content-Length\r\n" + _LENGTH, BODY + _HIDDEN
        ),
    }
)  # fmt: skip
