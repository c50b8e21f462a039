"""`report.html`: the report as one file that works offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import ablation, configurations, wording
from reports.glossary import GLOSSARY, TermLinks
from reports.sections.answer import answer
from reports.sections.certainty import confidence
from reports.sections.collapses import collapses
from reports.sections.data import data
from reports.sections.images import images
from reports.sections.importance import matters
from reports.sections.run import run
from search.metric_definitions import METRICS
from search.selection.results import Results

SECTIONS: Final[Mapping[str, tuple[str, Callable[[Results], Any]]]] = {
    "answer": ("Answer", answer),
    "sure": ("Confidence", confidence),
    "collapses": ("Collapses", collapses),
    "matters": ("What matters", matters),
    "images": ("Predictions", images),
    "data": ("Data", data),
    "run": ("Run", run),
    "glossary": ("Glossary", lambda results: GLOSSARY),
}
"""The sections in order, by the name of their template: title in the navigation, and the function that builds the
template data."""


def page(results: Results) -> str:
    """Return the whole page as HTML, with all names and texts escaped; it loads nothing from anywhere.

    The data of the figures are in `<script type="application/json">` elements without any `<`. A content security
    policy keeps the browser from requesting anything, whatever the page contains.
    """
    return environment().get_template("report.html").render(**_content(results))


@cache
def environment() -> Environment:
    """Return the environment of the templates, which escapes all values."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        shown=wording.shown,
        number=wording.number,
        whole=wording.whole,
        compact=wording.compact,
        percent=wording.percent,
        duration=wording.duration,
        headed=wording.headed,
        plain_name=wording.plain_name,
        signed=ablation.signed,
    )
    environment.globals.update(counted=wording.counted, layers=configurations.layers)
    return environment


def _content(results: Results) -> dict[str, Any]:
    study = results.study
    return {
        "results": results,
        "study": study,
        "title": wording.report_title(study.data.folder),
        "metric": wording.metric_name(study.identity.metric),
        "metric_sentence": METRICS[study.identity.metric].sentence,
        "control": wording.control_sentence(results.control, study.identity.metric) if results.control else "",
        "sections": {name: title for name, (title, _) in SECTIONS.items()},
        **{name: lay_out(results) for name, (_, lay_out) in SECTIONS.items()},
        "link": TermLinks(),
        "plotly": Markup(get_plotlyjs()),
    }
