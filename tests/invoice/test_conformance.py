"""The conformance set, judged without engine, ledger or HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.invoice.conformance import CASES, LEDGER
from tests.invoice.samples import NOON, WINDOW, told_by
from verifier.invoice.claim import Claim, Invalid, Question, raw_keys
from verifier.invoice.kinds import USABLE_STATUSES
from verifier.invoice.parsing import parse
from verifier.invoice.verdict import Judgement, agrees, complete_until, invalid, judge
from verifier.wire.questions import decode_question


def answer_of(given: Any) -> Judgement:
    """The answer by parsing and judging alone; no region has set a watermark."""
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    if isinstance(parsed, Invalid):
        return invalid(parsed)
    return judge(parsed, LEDGER.get(parsed.key), complete_until(None, NOON))


def members(case: dict[str, Any]) -> dict[str, Any]:
    """The case's request as the parser gets it: from its bytes, with exact decimals."""
    item = decode_question(json.dumps(case["request"]).encode())
    assert not isinstance(item, Invalid)
    if isinstance(item, Question):
        return {name: getattr(item, name) for name in item.__struct_fields__}
    return dict(item)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_parsing_and_judging(case: dict[str, Any]) -> None:
    """The expected verdict, status, fields, errors and hints, from the domain alone."""
    expect = case["expect"]
    answer = answer_of(members(case))
    record = answer.record
    assert answer.verdict == expect["verdict"]
    assert list(answer.mismatched) == expect.get("mismatched", [])
    errors = [[error.field, error.code] for error in answer.errors]
    assert errors == expect.get("errors", errors if answer.verdict == "invalid" else [])
    if "status" in expect:
        told = told_by(record)
        assert told["status"] == expect["status"]
        assert told["usable"] is expect.get("usable", told["status"] in USABLE_STATUSES)
    hints = {hint.code for hint in answer.hints}
    assert hints >= set(expect.get("hints_include", []))
    assert not hints & set(expect.get("hints_exclude", []))


def test_the_short_cut() -> None:
    """Where a case may skip parsing, that is a match without hints; most matches may."""
    taken = matches = 0
    for case in CASES:
        item = decode_question(json.dumps(case["request"]).encode())
        matches += case["expect"]["verdict"] == "match"
        if not isinstance(item, Question):
            continue
        record = LEDGER.get(raw_keys([item])[0])
        if record is not None and agrees(item, record, WINDOW):
            taken += 1
            answer = answer_of(members(case))
            assert (answer.verdict, answer.hints) == ("match", ()), case
            assert answer.record is record, case
            assert case["expect"]["verdict"] == "match", case
            assert not case["expect"].get("hints_include"), case
    assert taken > matches / 2


def test_no_verdict_depends_on_what_is_not_asked() -> None:
    """A reference changes no verdict and is echoed in every one that has a claim."""
    for case in CASES[::7]:
        given = members(case)
        plain, marked = answer_of(given), answer_of(given | {"reference": "r"})
        assert plain.verdict == marked.verdict
        if isinstance(parse(given, WINDOW.oldest, WINDOW.today), Claim):
            assert marked.reference == "r"
