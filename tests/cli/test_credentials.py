"""Where a command has its key from, and what becomes of one that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from verifier.cli.credentials import BadKey, take_key

KEY = "ivk_live_0123456789ABCDEFGHIJabcdefghij4Us3aw"
# Its checksum begins with a zero.
OTHER = "ivk_test_qkJaB6MffYVzZXWqmcoF49yrUxP3wf0LsakP"


def unheard(text: str) -> None:
    """Nothing is to be warned of."""
    raise AssertionError(text)


def file_of(folder: Path, text: str, mode: int = 0o600) -> str:
    """A file with this text."""
    file = folder / f"{len(list(folder.iterdir()))}.key"
    file.write_bytes(text.encode())
    file.chmod(mode)
    return str(file)


def take(file: str | None = None, **environ: str) -> str | None:
    """The key that a command with this ``--key`` finds in this environment."""
    return take_key(file, environ, unheard)


def refusal(file: str | None = None, **environ: str) -> str:
    """Why it cannot be used."""
    with pytest.raises(BadKey) as caught:
        take(file, **environ)
    return str(caught.value)


@pytest.mark.parametrize("text", [KEY, f" {KEY}\r\n", f"{KEY}\n# of the payroll\n"])
def test_a_file_holds_it_in_its_first_line(tmp_path: Path, text: str) -> None:
    """What surrounds it there, and what follows, is none of it."""
    assert take(file_of(tmp_path, text)) == KEY


def test_the_environment_holds_it(tmp_path: Path) -> None:
    """A key by itself, or a file of it."""
    assert take(VERIFIER_KEY=KEY) == KEY
    assert take(VERIFIER_KEY_FILE=file_of(tmp_path, OTHER)) == OTHER


@pytest.mark.parametrize("environ", [{}, {"VERIFIER_KEY": "", "VERIFIER_KEY_FILE": " "}])
def test_none_is_no_error(environ: dict[str, str]) -> None:
    """A service may want none; what is set to nothing is not set."""
    assert take(**environ) is None


def test_the_option_comes_before_the_environment(tmp_path: Path) -> None:
    """Even before one that is wrong."""
    assert take(file_of(tmp_path, KEY), VERIFIER_KEY=OTHER) == KEY
    assert take(file_of(tmp_path, KEY), VERIFIER_KEY_FILE="nowhere") == KEY


def test_two_in_the_environment_are_one_too_many(tmp_path: Path) -> None:
    """Nothing says which of them is meant."""
    said = refusal(VERIFIER_KEY=KEY, VERIFIER_KEY_FILE=file_of(tmp_path, KEY))
    assert said == "VERIFIER_KEY and VERIFIER_KEY_FILE are both set: expected one of them"


def test_it_is_taken_out_of_the_environment() -> None:
    """So that what the command starts does not have it."""
    environ = {"VERIFIER_KEY": KEY, "PATH": "/bin"}
    take_key(None, environ, unheard)
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize("text", [KEY, KEY[:-1], f"Bearer {KEY}", f"./{OTHER}"])
def test_a_key_on_the_command_line_is_refused(text: str) -> None:
    """A whole one or a part: it says why and what to do, and does not say it again."""
    said = refusal(text)
    assert said.startswith("--key: expected the name of a file that holds the key, got a key")
    assert "put the key into a file that only you can read, or into VERIFIER_KEY" in said
    assert "0123456789" not in said
    assert "qkJaB6" not in said


def test_a_file_may_be_called_like_a_kind_of_key(tmp_path: Path) -> None:
    """Its name is short of a key's characters."""
    file = tmp_path / "ivk_live_payroll"
    file.write_text(KEY)
    file.chmod(0o600)
    assert take(str(file)) == KEY


@pytest.mark.parametrize(
    ("name", "why"),
    [("none", "No such file or directory"), (".", "Is a directory"), ("\0", "embedded null byte")],
)
def test_a_file_that_cannot_be_read_is_named(name: str, why: str) -> None:
    """And how it came to be asked for."""
    assert refusal(name) == f"--key: {name}: {why}"


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "0 characters that begin otherwise"),
        ("hunter2", "7 characters that begin otherwise"),
        (f"Bearer {KEY}", "52 characters that begin otherwise"),
        (KEY[:-2], "ivk_live_… with 34 after it"),
        (f"{OTHER}x", "ivk_test_… with 37 after it"),
        (KEY[:-1] + "v", "ivk_live_… in which a character is wrong: the checksum does not fit"),
    ],
)
def test_what_is_no_key_is_described(tmp_path: Path, text: str, got: str) -> None:
    """By its prefix and its length."""
    file = file_of(tmp_path, text)
    expected = "expected ivk_live_ or ivk_test_ and 36 letters and digits, got"
    assert refusal(file) == f"--key: {file}: {expected} {got}"


@given(at=st.integers(9, len(KEY) - 1), to=st.sampled_from("0189AZaz_é\n"))
def test_one_wrong_character_is_found(at: int, to: str) -> None:
    """Wherever it is, and no more than the prefix is shown."""
    wrong = KEY[:at] + to + KEY[at + 1 :]
    assume(wrong != KEY)
    said = refusal(VERIFIER_KEY=wrong)
    assert said.startswith("VERIFIER_KEY: expected ")
    for part in (wrong[9:17], wrong[-8:]):
        assert part not in said


def test_an_endless_file_is_no_key() -> None:
    """It is not read into memory."""
    assert refusal("/dev/zero").endswith("got 256 characters that begin otherwise")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o777])
def test_a_file_that_is_open_to_others_is_warned_of(tmp_path: Path, mode: int) -> None:
    """The key is taken all the same, and the warning says what to do."""
    file = file_of(tmp_path, KEY, mode)
    heard: list[str] = []
    assert take_key(file, {}, heard.append) == KEY
    assert heard == [f"{file} holds a key and is open to others (mode {mode:o}): chmod 600 {file}"]


def test_a_pipe_is_nobody_elses() -> None:
    """As a shell's ``<(…)`` has it."""
    reading, writing = os.pipe()
    os.write(writing, KEY.encode())
    os.close(writing)
    assert take(f"/dev/fd/{reading}") == KEY
    os.close(reading)
