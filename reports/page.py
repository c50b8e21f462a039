"""`report.html`: one file that works offline, made for looking before reading."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import ablation, wording
from reports.ablation_figure import stair
from reports.best_config import best_config_text
from reports.figures import collapsed_examples, curves, figure_json, history
from reports.layer_figure import layer_curves
from reports.summary import plain
from reports.views import (
    SHOWN,
    cause_rows,
    class_rows,
    folds_scale,
    headline_scale,
    map_view,
    marks,
    reason_rows,
    symptom_rows,
)
from search.records import TrialState
from search.selection.results import Results


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
        signed=ablation.signed,
    )
    environment.globals.update(counted=wording.counted, layers=wording.layers)
    return environment


def _content(results: Results) -> dict[str, Any]:
    study = results.study
    shown_marks = marks(results)
    recommended = results.recommended
    configuration = recommended.ranked.trial.configuration if recommended else None
    has_curves = any(fit.checks for ranked in results.ranking[:3] for fit in ranked.trial.fits)
    way = ablation.rows(results)
    return {
        "results": results,
        "study": study,
        "title": wording.folder_title(study.data.folder),
        "metric": wording.metric_name(study.identity.metric),
        "metric_sentence": wording.METRIC_SENTENCES.get(study.identity.metric, ""),
        "sentence": wording.sentence(configuration) if configuration else "",
        "yaml": best_config_text(results, recommended) if recommended else "",
        "marks": shown_marks,
        "scale": headline_scale(results, shown_marks),
        "best": results.ranking[:SHOWN],
        "folds_scale": folds_scale(results.ranking, results.chance),
        "reasons": reason_rows(results),
        "causes": cause_rows(results),
        "symptoms": symptom_rows(results),
        "control": wording.control_sentence(results.control, study.identity.metric) if results.control else "",
        "states": _states(results),
        "classes": class_rows(results),
        "map": map_view(results),
        "way": way,
        "way_sentence": ablation.sentence(results),
        "way_start": ablation.collapsed(study.ablation.start) or "all learned" if study.ablation else "",
        "way_noise": ablation.noise(results),
        "way_cost": ablation.cost(study.ablation) if study.ablation else "",
        "way_figure": Markup(figure_json(stair(results))) if way else None,
        "budget": _rows(study.settings),
        "versions": _rows(study.versions),
        "layers_figure": Markup(figure_json(layers_figure)) if (layers_figure := layer_curves(results)) else None,
        "history": Markup(figure_json(history(results))) if study.trials else None,
        "curves": Markup(figure_json(curves(results))) if has_curves or collapsed_examples(results) else None,
        "plotly": Markup(get_plotlyjs()),
    }


def _states(results: Results) -> list[tuple[str, int]]:
    found = [trial.state for trial in results.study.trials]
    return [(wording.STATE_WORDS[state], found.count(state)) for state in TrialState if state in found]


def _rows(values: Any) -> list[tuple[str, str]]:
    """Settings as names and texts; nested ones as JSON."""
    return [
        (name, wording.shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
        for name, value in plain(values).items()
    ]
