"""The table of kinds against docs/questions.md, which says what domain.md §2 says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verifier.invoice.kinds import KINDS, STATUSES, USABLE_STATUSES

PAGE = Path(__file__).parents[2] / "docs" / "questions.md"

# kind, Chinese name, lengths of the code, length of the number, factors
ROW = re.compile(r"\| `(\w+)` \| (.+) \| (.+) \| (8|20) \| (.+) \|")
ROWS = [found.groups() for line in PAGE.read_text().splitlines() if (found := ROW.fullmatch(line))]


@pytest.mark.parametrize(("name", "chinese", "code", "number", "factors"), ROWS)
def test_kind(name: str, chinese: str, code: str, number: str, factors: str) -> None:
    """Each kind has the name, the lengths and the factors that callers are told."""
    kind = KINDS[name]
    assert (kind.name, kind.chinese) == (name, chinese)
    assert kind.code_lengths == tuple(map(int, re.findall(r"\d+", code)))
    assert kind.number_length == int(number)
    assert set(kind.factors) == set(re.findall(r"`(\w+)`", factors))
    assert kind.digital == (code == "none")


def test_all_kinds_are_in_the_table() -> None:
    """There are the kinds that callers are told of and no other."""
    assert list(KINDS) == [row[0] for row in ROWS]


def test_no_code_says_two_kinds() -> None:
    """Digits that stand for a kind stand for no other one."""
    for field in ("eighths", "endings"):
        every = [digits for kind in KINDS.values() for digits in getattr(kind, field)]
        assert len(set(every)) == len(every)


def test_paper_twins_ask_for_the_same_factor() -> None:
    """A 数电纸质 invoice asks for what its twin asks for, so that inference cannot mislead."""
    printed = {kind.name: kind.printed_on for kind in KINDS.values() if kind.printed_on}
    assert printed == {
        "digital_paper_special": "vat_special",
        "digital_paper_ordinary": "vat_ordinary",
    }
    for kind, twin in printed.items():
        assert KINDS[twin].factors == KINDS[kind].factors


def test_statuses() -> None:
    """Only normal and partially red-flushed invoices are usable, of five statuses."""
    assert len(STATUSES) == 5
    assert set(STATUSES) >= USABLE_STATUSES
    assert {"normal", "partially_red_flushed"} == USABLE_STATUSES
