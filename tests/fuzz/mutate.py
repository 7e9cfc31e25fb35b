"""Bytes and JSON made odd: what nobody means to send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.samples import NAMES, NUMBERS, TEXTS, WORDS, Members, text

# What changes how bytes are read, wherever it comes to stand.
_JSON = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b" ", b"\0", b"\xff", b"\\u0000",
    b"\\ud800", b"null", b"0", b"-", b"e9", b".", b"\xef\xbb\xbf", b"//", b"/*", b"{}", b"\n\n",
)  # fmt: skip
HTTP = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\x0b", b"\0", b":", b"\xff", b"%0a",
    b"%00", b"%ff", b"%", b"?", b"#", b"//", b"/../", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0",
    b"\r\nTransfer-Encoding: chunked", b"\r\nTransfer-Encoding: gzip", b"\r\nContent-Length: 5",
    b"\r\nContent-Length: -1", b"\r\nContent-Length: 99999999999999999999", b"\r\nHost: y",
    b"\r\nConnection: close", b"\r\nConnection: Upgrade\r\nUpgrade: websocket", b"\r\nX: a\r\n b",
    b"\r\nExpect: 100-continue", b"\r\nExpect: more", b"\r\nContent-Encoding: gzip", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"fffffffffffffffff\r\n", b"-1\r\n", b"0;a=b\r\n\r\n", b"GET ", b"POST ",
    b"PUT ", b"OPTIONS ", b"G@T ", b"\r\nX: " + b"x" * 9_000, b"\r\nX: y" * 120, b"\r\n: x",
)  # fmt: skip


def bytes_of(random: Random, data: bytes, tokens: Sequence[bytes] = _JSON) -> bytes:
    """The same bytes with one to four small changes."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        at = random.randint(0, len(changed))
        end = min(len(changed), at + random.choice((1, 1, 2, 8, 64)))
        match random.randrange(6):
            case 0:
                changed[at:end] = b""
            case 1:
                changed[at:at] = changed[at:end]
            case 2:
                changed[at:at] = random.choice(tokens)
            case 3:
                changed[at:end] = random.choice(tokens)
            case 4:
                changed[at:end] = random.randbytes(end - at)
            case 5 if random.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def value(random: Random, depth: int = 0) -> bytes:
    """Something in the place of a value: odd numbers and texts, deep and wide ones, nothing."""
    kind = random.random()
    if kind < 0.35:
        return random.choice(NUMBERS)
    if kind < 0.75:
        return random.choice(TEXTS)
    if kind < 0.85 or depth > 2:
        return random.choice(WORDS)
    if kind < 0.9:
        deep = random.choice((2, 30, 200, 1_200))
        return b"[" * deep + b"]" * (deep if random.random() < 0.8 else deep - 1)
    if kind < 0.93:
        deep = random.choice((2, 30, 400))
        return b'{"a":' * deep + b"1" + b"}" * deep
    many = random.choice((0, 1, 3, 70))
    if kind < 0.97:
        return b"[%b]" % b",".join(value(random, depth + 1) for _ in range(min(many, 3)))
    return jsonic([(f"k{index}", b"1") for index in range(many)])


def members(random: Random, given: Members) -> Members:
    """Members with one to three of them left out, given twice, renamed, or of another value."""
    changed = list(given)
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(changed)) if changed else 0
        name = changed[at][0] if changed else "number"
        match random.randrange(6):
            case 0:
                changed[at : at + 1] = []
            case 1:
                changed.append((name, value(random)))
            case 2:
                changed[at : at + 1] = [(random.choice(NAMES), value(random))]
            case 3:
                changed.append((random.choice(NAMES), text(name)))
            case _:
                changed[at : at + 1] = [(name, value(random))]
    return changed


def jsonic(given: Members, space: bytes = b"") -> bytes:
    """Members as the text of an object, repeated names and all."""
    inner = b",".join(text(name) + space + b":" + space + what for name, what in given)
    return b"{" + space + inner + space + b"}"


def item(random: Random, make: Callable[[Random], Members]) -> bytes:
    """One object as ``make`` makes it, as it is or odd; sometimes none."""
    kind = random.random()
    if kind < 0.35:
        return jsonic(make(random))
    if kind < 0.7:
        return jsonic(members(random, make(random)), random.choice((b"", b"", b" ", b"\t")))
    if kind < 0.93:
        return bytes_of(random, jsonic(make(random)))
    if kind < 0.98:
        return value(random)
    return random.randbytes(random.choice((1, 8, 100)))
