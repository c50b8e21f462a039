"""`diagnosis.html`: the diagnosis of a network as one file that works offline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import diagnosis_wording as words
from reports.diagnosis_figures import fit_curves, layer_profile
from reports.figure_style import drawing
from reports.page import environment
from reports.scales import Scale
from reports.wording import compact, evidence_text, number, percent
from search.causes import CAUSES, Cause
from search.diagnosis.evidence import Compilation, DataSample, Diagnosis, LayerInfo, LayerStatistics, NetworkProbe

_SCORES: Final = Scale(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class DiagnosisCauseRow:
    """A suspected cause as a row of the page."""

    code: str
    sentence: str
    layer: str | None
    standing: str
    evidence: str


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer with its settings and its signals before the first step."""

    layer: LayerInfo
    output: str
    settings: str
    signals: tuple[str, ...]  # deviation, variation between images, share of silent units, gradient, update
    suspected: bool


def diagnosis_page(diagnosis: Diagnosis) -> str:
    """Return the whole page as HTML, with all names and texts escaped; it loads nothing from anywhere."""
    return environment().get_template("diagnosis.html").render(**_content(diagnosis))


def _content(diagnosis: Diagnosis) -> dict[str, Any]:
    fix = words.best_fix(diagnosis)
    curves, profile = fit_curves(diagnosis), layer_profile(diagnosis)
    return {
        "diagnosis": diagnosis,
        "title": Path(diagnosis.model).name,
        "headline": words.HEADLINES[diagnosis.state],
        "scores_sentence": words.scores_sentence(diagnosis),
        "fix": fix,
        "effect": words.fix_effect(fix, diagnosis) if fix else "",
        "without_fix": "" if fix or diagnosis.healthy else words.without_fix(diagnosis),
        "causes": [_cause_row(cause) for cause in diagnosis.causes],
        "remarks": [_cause_row(cause) for cause in diagnosis.remarks],
        "runs": [run.score for run in diagnosis.runs],
        "finite": _finite,
        "scale": _SCORES,
        "shape": _sizes(diagnosis.material.shape),
        "facts": [*_material(diagnosis.material), *_compilation(diagnosis.anatomy.compilation)],
        "probe": _probe(diagnosis.probe),
        "layers": layer_rows(diagnosis),
        "curves": drawing(curves.to_plotly_json(), "Balanced accuracy and loss of every fit over the epochs")
        if curves
        else None,
        "profile": drawing(
            profile.to_plotly_json(),
            "Deviation of the outputs, share of silent units, gradient and update of every layer",
        )
        if profile
        else None,
        "plotly": Markup(get_plotlyjs()),
    }


def layer_rows(diagnosis: Diagnosis) -> list[LayerRow]:
    """Return all layers in the order in which they are called."""
    probes = {probe.name: probe for probe in diagnosis.probe.layers}
    suspected = {cause.layer for cause in diagnosis.causes}
    return [
        LayerRow(
            layer, _sizes(layer.shape[1:]), _settings(layer), _signals(probes.get(layer.name)), layer.name in suspected
        )
        for layer in diagnosis.anatomy.layers
    ]


def _cause_row(cause: Cause) -> DiagnosisCauseRow:
    return DiagnosisCauseRow(
        cause.code, CAUSES[cause.code], cause.layer, words.standing(cause), evidence_text(cause.evidence)
    )


def _signals(probe: LayerStatistics | None) -> tuple[str, ...]:
    if probe is None:
        return ("–",) * 5
    values = (probe.deviation, probe.between_images, probe.gradient, probe.update)
    deviation, between, gradient, update = ("–" if value is None else compact(float(value)) for value in values)
    return deviation, between, percent(probe.dead), gradient, update


def _settings(layer: LayerInfo) -> str:
    """Return the settings of a layer as short text."""
    settings = {
        "dropout": layer.rate,
        "momentum": layer.momentum,
        "scale": layer.scale,
        "offset": layer.offset or None,
        "L1": layer.l1 or None,
        "L2": layer.l2 or None,
        **layer.augmentation,
    }
    parts = [f"{name} {compact(value)}" for name, value in settings.items() if value is not None]
    if layer.initializer:
        parts.insert(0, layer.initializer)
    if layer.parameters and not layer.trainable:
        parts.append("frozen")
    return ", ".join(parts)


def _material(material: DataSample) -> list[tuple[str, str]]:
    classes = ", ".join(f"{name}: {count:,}" for name, count in material.classes.items())
    rows = [
        ("images by class", classes),
        ("input values", f"{compact(material.low)} to {compact(material.high)}, mean {compact(material.mean)}"),
        ("labels", material.labels),
        ("batch size", str(material.batch_size)),
        ("epochs", str(material.epochs)),
        ("best simple method", f"balanced accuracy {number(material.baseline)}"),
    ]
    if material.class_weight is not None:
        weights = ", ".join(f"{name}: {compact(weight)}" for name, weight in material.class_weight.items())
        rows.append(("class weights", weights))
    own = [name for name, used in (("PREPROCESS", material.preprocess), ("AUGMENT", material.augment)) if used]
    return [*rows, ("input pipeline", " and ".join(own) if own else "raw pixels")]


def _compilation(compilation: Compilation) -> list[tuple[str, str]]:
    clips = {
        "clipnorm": compilation.clipnorm,
        "clipvalue": compilation.clipvalue,
        "global clipnorm": compilation.global_clipnorm,
        "weight decay": compilation.weight_decay,
        "momentum": compilation.momentum or None,
    }
    more = "".join(f", {name} {compact(value)}" for name, value in clips.items() if value is not None)
    logits = " from logits" if compilation.from_logits else ""
    return [
        ("optimizer", f"{compilation.optimizer}, learning rate {compact(compilation.learning_rate)}{more}"),
        ("loss", f"{compilation.loss}{logits}, {compilation.reduction}"),
    ]


def _probe(probe: NetworkProbe) -> list[tuple[str, str]]:
    """Return the signals of the untrained network as pairs of value and meaning."""
    rows = [(compact(probe.loss), f"initial loss; predicting the class shares has {compact(probe.expected_loss)}")]
    if probe.penalty:
        rows.append((compact(probe.penalty), "weight penalties in addition to the loss"))
    rows.append((percent(probe.top_share), "of the initial predictions are the same class"))
    if probe.overfits is not None:
        rows.append(("yes" if probe.overfits else "no", "memorizes a batch of 16 images"))
    return rows


def _sizes(shape: Iterable[int | None]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape)


def _finite(scores: Sequence[float]) -> list[float]:
    return [score for score in scores if math.isfinite(score)]
