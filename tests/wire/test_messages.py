"""What people read: every code has its words in both languages."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from verifier.invoice.claim import Question
from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint
from verifier.wire import messages, schemas
from verifier.wire.messages import Language, error_message, hint_message, language_of


def codes_of(structure: type[msgspec.Struct]) -> list[str]:
    """The codes that the schema of an error or hint admits."""
    types: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(structure)}
    return list(get_args(types["code"]))


ERRORS = codes_of(schemas.FieldError)
HINTS = codes_of(schemas.Hint)


def test_exactly_the_documented_codes_have_words() -> None:
    """The schema and the messages name the same codes, each in two languages."""
    assert set(messages._ERRORS) == set(ERRORS)
    assert set(messages._HINTS) == set(HINTS)
    for texts in (*messages._ERRORS.values(), *messages._HINTS.values()):
        assert len(set(texts)) == 2


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_names_its_field(code: str) -> None:
    """A message names the field in its language, and what was expected where that says more."""
    error = FieldError("total", code, "-1234.50")
    chinese, english = error_message(error, "zh"), error_message(error, "en")
    if code != "unknown_invoice":
        assert "价税合计" in chinese
        assert "total" in english
    assert ("-1234.50" in chinese) is ("-1234.50" in english)
    assert "{" not in chinese + english
    assert english.isascii()


@pytest.mark.parametrize("code", HINTS)
def test_a_hint_has_words(code: str) -> None:
    """A hint's message is whole, and in the right language."""
    hint = Hint(code, "date", 4 if code == "duplicate_in_request" else None)
    chinese, english = hint_message(hint, "zh"), hint_message(hint, "en")
    assert not chinese.isascii()
    assert english.isascii()
    assert "{" not in chinese + english
    assert "None" not in chinese + english
    if code == "duplicate_in_request":
        assert "4" in chinese
        assert "4" in english


@pytest.mark.parametrize("field", Question.__struct_fields__)
def test_every_field_has_a_chinese_name(field: str) -> None:
    """A Chinese message never falls back to the name of a JSON member."""
    assert field not in error_message(FieldError(field, "required"), "zh")


@pytest.mark.parametrize("field", ["chek_code", "{name}", "{0}", "", "错", "%s"])
def test_unknown_fields_are_named_as_they_are(field: str) -> None:
    """Whatever a caller calls a field, its message can be written."""
    for language in ("zh", "en"):
        assert field in error_message(FieldError(field, "unknown_field"), language)


def test_an_item_that_is_no_object_has_a_name_too() -> None:
    """The empty field stands for the item as a whole."""
    error = FieldError("", "bad_format", "JSON object")
    assert error_message(error, "zh") == "内容格式不正确，应为：JSON object"
    assert error_message(error, "en") == "the item is malformed; expected JSON object"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en", "en"),
        ("en-US,en;q=0.9", "en"),
        ("EN-gb", "en"),
        ("en;q=0.8, zh;q=0.9", "zh"),
        ("zh;q=0.1, en;q=0.2", "en"),
        ("en;q=0.5, zh;q=0.5", "zh"),
        ("fr", "zh"),
        ("fr, en;q=0.1", "en"),
        ("*", "zh"),
        ("en, *;q=0.5", "en"),
        ("en;q=0.1, *;q=0.5", "zh"),
        ("en;q=0", "zh"),
        ("en;q=x", "zh"),
        ("en;q=nan", "zh"),
        ("en; q = 0.4 , zh ; q=0.3", "en"),
        (";;;,,,=", "zh"),
        ("e\u00f1", "zh"),
    ],
)
def test_language(header: str, language: Language) -> None:
    """The better of Chinese and English by weight; Chinese when in doubt."""
    assert language_of(header) == language
