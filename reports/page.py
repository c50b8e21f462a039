"""`report.html`: one file that works offline, made for looking before reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import ablation, wording
from reports.sections.answer import answer
from reports.sections.certainty import sure
from reports.sections.collapses import collapses
from reports.sections.data import data
from reports.sections.images import images
from reports.sections.importance import matters
from reports.sections.run import run
from search.metric_definitions import METRICS
from search.selection.results import Results

SECTIONS: Final[Mapping[str, tuple[str, Callable[[Results], Any]]]] = {
    "answer": ("Answer", answer),
    "sure": ("How sure", sure),
    "collapses": ("Collapses", collapses),
    "matters": ("What matters", matters),
    "images": ("Images", images),
    "data": ("Data", data),
    "run": ("Run", run),
}
"""In their order: what each is called on top of the page, and what lays it out for its template of the same name."""


def page(results: Results) -> str:
    """The whole page as HTML. Names and texts from outside are escaped; nothing is loaded from anywhere.

    The figures' data stand in `<script type="application/json">` elements without any `<`; a content security policy
    in the head keeps the browser from asking for anything, whatever the page holds.
    """
    return environment().get_template("report.html").render(**_content(results))


@cache
def environment() -> Environment:
    """Templates of this room, escaping all that they are given."""
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
    environment.globals.update(counted=wording.counted, layers=wording.layers)
    return environment


def _content(results: Results) -> dict[str, Any]:
    study = results.study
    return {
        "results": results,
        "study": study,
        "title": wording.folder_title(study.data.folder),
        "metric": wording.metric_name(study.identity.metric),
        "metric_sentence": METRICS[study.identity.metric].sentence,
        "control": wording.control_sentence(results.control, study.identity.metric) if results.control else "",
        "sections": {name: title for name, (title, _) in SECTIONS.items()},
        **{name: lay_out(results) for name, (_, lay_out) in SECTIONS.items()},
        "plotly": Markup(get_plotlyjs()),
    }
