"""Numbers as people read them: as many digits as mean something, and a unit."""

from __future__ import annotations


def count(value: float) -> str:
    """A number of things, or of things a second: 18,000; 7.5."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def rate(value: float) -> str:
    """Requests a second, to three digits: steps are further apart than that. 21,800/s."""
    return f"{count(float(f'{value:.3g}'))}/s"


def duration(seconds: float) -> str:
    """12 ms; 0.85 ms; 1.4 s."""
    if seconds >= 10:
        return f"{seconds:,.0f} s"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    milliseconds = seconds * 1e3
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.2g} ms"


def share(value: float) -> str:
    """A share (0 to 1) in percent: never 100 % of what is not all, nor 0 % of what is not none."""
    if 0 < value < 0.0005:
        return "under 0.1 %"
    if 0.9995 <= value < 1:
        return "over 99.9 %"
    return f"{100 * value:.1f}".removesuffix(".0") + " %"


def size(octets: float) -> str:
    """Memory: 181 MiB."""
    return f"{octets / 2**20:,.0f} MiB"


def joined(parts: list[str]) -> str:
    """A, b and c."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""
