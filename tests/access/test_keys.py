"""Keys: what one looks like, and what is kept of it."""

from __future__ import annotations

import hashlib
import hmac
from random import Random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.access.keys import (
    LABEL,
    MIN_PEPPER,
    MODES,
    Mode,
    checksum,
    digest,
    is_key,
    label,
    make,
    peppers_of,
)
from verifier.errors import ConfigError

KEY = "ivk_live_0123456789ABCDEFGHIJabcdefghij4Us3aw"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_the_checksum_is_github_s() -> None:
    """The vector that is in public use, which tests the padding too."""
    assert checksum("qkJaB6MffYVzZXWqmcoF49yrUxP3wf") == "0LsakP"


def test_our_vector_is_a_key() -> None:
    """The one of access.md, in its whole form."""
    assert is_key(KEY)


@given(st.text(ALPHABET, min_size=30, max_size=30))
def test_a_checksum_is_the_crc_in_base_62(body: str) -> None:
    """Read back digit by digit, it is zlib's CRC-32 of the random part."""
    value = 0
    for character in checksum(body):
        value = value * 62 + ALPHABET.index(character)
    assert value == crc32(body.encode())


@given(st.randoms(use_true_random=False), st.sampled_from(MODES))
def test_what_is_made_is_a_key(random: Random, mode: Mode) -> None:
    """Of its mode, as long as any other, whatever is chosen."""
    key = make(mode, random.choice)
    assert is_key(key)
    assert key.startswith(f"ivk_{mode}_")
    assert len(key) == len(KEY)


def test_each_character_is_chosen() -> None:
    """Thirty times out of all 62, which is what makes it hard to guess."""
    asked: list[str] = []

    def last(characters: str) -> str:
        asked.append(characters)
        return characters[-1]

    assert make("live", last)[9:39] == "z" * 30
    assert asked == [ALPHABET] * 30


@given(
    st.randoms(use_true_random=False),
    st.integers(0, len(KEY) - 1),
    st.characters(codec="utf-8") | st.sampled_from(ALPHABET),
)
def test_a_typing_error_is_seen(random: Random, place: int, character: str) -> None:
    """A key with any one character changed is no key."""
    key = make("live", random.choice)
    changed = key[:place] + character + key[place + 1 :]
    assert is_key(changed) == (changed == key)


@given(st.integers(0, len(KEY)), st.sampled_from(ALPHABET + "\n _=\0é０"))
def test_a_character_too_many_or_too_few_is_seen(place: int, character: str) -> None:
    """Also at the end, where a line's end may hang on to it."""
    assert not is_key(KEY[:place] + character + KEY[place:])
    assert not is_key(KEY[:place] + KEY[place + 1 :]) or place == len(KEY)


@pytest.mark.parametrize("place", range(9, len(KEY) - 1))
def test_two_characters_that_changed_places_are_seen(place: int) -> None:
    """The other typing error that people make."""
    assert not is_key(KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :])


def test_what_is_kept_is_an_hmac() -> None:
    """SHA-256 of the whole key under the pepper: without it, nothing can be tried."""
    kept = digest(b"p" * 32, KEY)
    assert kept == hmac.new(b"p" * 32, KEY.encode(), hashlib.sha256).digest()
    assert kept != digest(b"q" * 32, KEY)
    assert label(kept) == kept.hex()[:LABEL]


def test_a_missing_pepper_says_what_to_do() -> None:
    """How one is made, and what to set to live without keys."""
    with pytest.raises(ConfigError) as refused:
        peppers_of(())
    said = str(refused.value)
    assert "VERIFIER_KEY_PEPPERS is not set" in said
    assert "openssl rand -hex 32" in said
    assert "VERIFIER_AUTH=off" in said


@pytest.mark.parametrize("place", [1, 2])
def test_a_short_pepper_is_refused_unquoted(place: int) -> None:
    """By its place among the others: the message may get into a log."""
    short = "s3cret" * 5
    assert len(short) == MIN_PEPPER - 2
    given = ["g" * MIN_PEPPER, "h" * MIN_PEPPER]
    given[place - 1] = short
    with pytest.raises(ConfigError) as refused:
        peppers_of(given)
    said = str(refused.value)
    assert f"number {place} has 30 characters" in said
    assert not any(pepper in said for pepper in (*given, "s3cret"))


def test_peppers_keep_their_order() -> None:
    """New keys are kept under the first."""
    assert peppers_of(["a" * 32, "b" * 40]) == (b"a" * 32, b"b" * 40)
