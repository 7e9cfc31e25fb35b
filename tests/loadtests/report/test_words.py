from __future__ import annotations

import pytest

from loadtests.report.words import count, duration, joined, rate, share


@pytest.mark.parametrize(
    ("value", "said"), [(18_000, "18,000"), (7.46, "7.5"), (7.0, "7"), (0.0, "0"), (123.4, "123")]
)
def test_counts_are_whole_when_they_are_large(value: float, said: str) -> None:
    """Small numbers have one digit after the point, large ones a comma at thousands."""
    assert count(value) == said


def test_a_rate_has_three_digits() -> None:
    """More digits than steps can tell apart are not said."""
    assert [rate(21_847), rate(900), rate(7.54)] == ["21,800/s", "900/s", "7.5/s"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.000854, "0.85 ms"), (0.0042, "4.2 ms"), (0.0123, "12 ms"), (1.44, "1.4 s"), (61, "61 s")],
)
def test_durations_are_in_the_unit_that_people_say(seconds: float, said: str) -> None:
    """Milliseconds below a second, seconds above."""
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.0, "100 %"),
        (0.99999, "over 99.9 %"),
        (0.123, "12.3 %"),
        (0.00001, "under 0.1 %"),
        (0.0, "0 %"),
    ],
)
def test_a_share_is_rounded_neither_to_all_nor_to_none(value: float, said: str) -> None:
    """One request lost of a million is not 100 %."""
    assert share(value) == said


def test_words_are_joined_as_in_a_sentence() -> None:
    """Commas, and an "and" before the last."""
    assert [joined([]), joined(["a"]), joined(["a", "b", "c"])] == ["", "a", "a, b and c"]
