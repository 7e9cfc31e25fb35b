from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loadtests import report
from loadtests.result import Result, encode, read
from tests.loadtests import samples


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page(peak: Result, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The HTML page of a run."""
    folder = tmp_path_factory.mktemp("report")
    report.write(peak, folder)
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def written(steps: Result, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of the run in steps."""
    return report.write(steps, tmp_path_factory.mktemp("reports") / "run")


def test_a_run_leaves_everything_in_its_folder(written: list[Path]) -> None:
    """The result, a page of each kind, and a file for each plot; all of them are named."""
    plots = ["latency.svg", "goodput.svg", "percentiles.svg", "timeline.svg"]
    assert [file.name for file in written] == ["result.json", *plots, "report.md", "report.html"]
    assert sorted(written) == sorted(written[0].parent.iterdir())


def test_the_result_that_was_reported_can_be_read_again(steps: Result, written: list[Path]) -> None:
    """What compares runs later finds the same numbers."""
    assert encode(read(written[0].parent)) == encode(steps)


def test_the_markdown_page_begins_with_the_headline_and_links_its_plots(
    written: list[Path],
) -> None:
    """The first line is the answer; each plot's file is there."""
    folder = written[0].parent
    text = (folder / "report.md").read_text()
    assert text.startswith("# step: holds 1,800/s within 20 ms; the knee is at 2,100/s\n")
    linked = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(linked) == 4
    assert all((folder / name).is_file() for name in linked)


def test_the_page_needs_no_network(page: str) -> None:
    """Nothing is loaded, run or linked from elsewhere."""
    elements = _Elements(page).found
    assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "object"}
    linked = [
        value
        for _, attributes in elements
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href"} and value is not None
    ]
    assert linked
    assert all(value.startswith("#") for value in linked)
    assert "@import" not in page
    assert "url(http" not in page


def test_the_page_fits_a_phone(page: str) -> None:
    """It has the width of the device; what is wider scrolls in its own box."""
    elements = _Elements(page).found
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        elements
    )
    boxes = Counter(attributes.get("class") for tag, attributes in elements if tag == "div")
    assert boxes["table"] == sum(tag == "table" for tag, _ in elements)
    assert boxes["wide"] == 1


def test_no_id_is_twice_in_the_page(page: str) -> None:
    """Plots that were files of their own do not take each other's clips and markers."""
    ids = Counter(attributes.get("id") for _, attributes in _Elements(page).found)
    del ids[None]
    assert ids
    assert max(ids.values()) == 1


def test_the_first_screen_is_the_headline_the_facts_and_the_main_plot(page: str) -> None:
    """A manager sees the sentence, the numbers and one plot before anything else."""
    places = [page.index(mark) for mark in ("<h1>", 'class="facts"', "<svg", "<table")]
    assert places == sorted(places)


def test_what_comes_from_outside_is_only_text(tmp_path: Path) -> None:
    """Names, reasons and wrong answers with tags in them stay letters in the page."""
    nasty = "<script>alert('x')</script>"
    run = samples.wrong(samples.void(samples.peak_hour(seconds=4)), said=[nasty])
    run.scenario = run.summary = run.void = run.commit = nasty
    run.configuration[nasty] = {nasty: nasty}
    run.stages[1].name = nasty
    report.write(run, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 8


def test_wrong_answers_are_quoted(tmp_path: Path) -> None:
    """Both pages show the first wrong answers exactly as they were."""
    run = samples.wrong(samples.peak_hour(seconds=4), said=["expected match, got mismatch"])
    report.write(run, tmp_path)
    assert "expected match, got mismatch\n" in (tmp_path / "report.html").read_text()
    assert "```text\nexpected match, got mismatch\n```" in (tmp_path / "report.md").read_text()


def test_a_run_against_nothing_is_reported_too(dead: Result, tmp_path: Path) -> None:
    """When nothing was answered, the report says so instead of failing."""
    report.write(dead, tmp_path)
    assert "none answered" in (tmp_path / "report.md").read_text()
