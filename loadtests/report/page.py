"""``report.html``: the whole run in one file that needs no network, for a phone as well."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtests.report.plots import Plot
from loadtests.report.style import inlined
from loadtests.report.tables import tables
from loadtests.report.verdict import Verdict
from loadtests.result import Result


def page(result: Result, verdict: Verdict, plots: Iterable[Plot]) -> str:
    """The page. The template escapes all but the plots, whose texts matplotlib has escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html").render(
        result=result,
        verdict=verdict,
        plots=[
            plot._replace(svg=Markup(inlined(plot.svg, f"plot{at}", plot.title)))
            for at, plot in enumerate(plots)
        ],
        tables=tables(result),
    )
