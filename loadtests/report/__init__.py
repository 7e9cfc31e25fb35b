"""What a run leaves for people: ``report.md``, plots, and one HTML page with everything.

verdict (the run in one sentence) · budgets (knee, budget, the stages that count) · tables · plots
(load_plots, curve_plot, timeline over bins; style) · markdown · page (with page.html).
"""

from __future__ import annotations

from pathlib import Path

from loadtests import result as results
from loadtests.report import markdown, page
from loadtests.report.plots import drawn, goodputs
from loadtests.report.verdict import Verdict, headline, judge
from loadtests.result import Result

__all__ = ["Verdict", "goodputs", "headline", "judge", "write"]


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``result.json``, ``report.md``, the plots and ``report.html``; the paths of all.

    The folder is made if need be. ``result`` has at least one stage.
    """
    written = [results.write(result, folder)]
    verdict, plots = judge(result), drawn(result)
    texts = {file: plot.svg for file, plot in plots.items()}
    texts["report.md"] = markdown.page(result, verdict, plots)
    texts["report.html"] = page.page(result, verdict, plots.values())
    for name, text in texts.items():
        file = folder / name
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return written
