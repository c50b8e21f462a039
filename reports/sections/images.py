"""The section Predictions: confusion matrix, worst mistakes, likely wrong labels, corruptions, recall by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from reports import wording
from reports.figure_style import Drawing, drawing
from reports.plots.corruptions import corruption_figure
from reports.wording import counted, number, plain_name
from search.metric_definitions import METRICS
from search.selection.results import Finalist, Results

NO_PREDICTIONS: Final = "There are no predictions to show without a recommended configuration."
MOST: Final = 24  # images in each list
CLASS_COLUMNS: Final[Mapping[str, str]] = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "auc": "ROC AUC",
    **{metric: METRICS[metric].title for metric in ("average_precision", "recall_at_precision")},
}
"""Metrics of a single class and their names."""
_LIKELIEST: Final = 3  # classes listed with their probability


@dataclass(frozen=True, slots=True)
class RecallRow:
    """A class and its expected recall."""

    name: str
    images: int
    recall: tuple[float, float, float]  # expected, low, high


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """The number of images of one class that are classified as one class."""

    count: int
    share: float  # of the images of the class
    right: bool


@dataclass(frozen=True, slots=True)
class ImageCard:
    """An image with its label and predictions."""

    file: str
    label: str  # the class it is labelled with
    other: str  # the predicted or the likely class
    bars: tuple[tuple[str, float], ...]  # the likeliest classes with their probability
    thumbnail: str | None  # JPEG, base64


@dataclass(frozen=True, slots=True)
class CorruptionRow:
    """Loss of score under one corruption, mild and strong, for each finalist; the recommended one comes first."""

    name: str
    lost: tuple[tuple[float, float] | None, ...]  # one pair (mild, strong) per finalist


@dataclass(frozen=True, slots=True)
class ScoredClass:
    """A class and how well it is distinguished from all others."""

    name: str
    images: int
    values: tuple[float, ...]  # in the order of `CLASS_COLUMNS`; NaN without images


@dataclass(frozen=True, slots=True)
class Images:
    """The template data of the section Predictions: confusion matrix, mistakes, corruptions, metrics by class."""

    sentence: str
    classes: tuple[str, ...]
    confusion: tuple[tuple[ConfusionCell, ...], ...]
    mistakes: tuple[ImageCard, ...]
    mistakes_in_all: int
    mistaken: float  # share of the images that are misclassified
    suspects: tuple[ImageCard, ...]
    suspects_in_all: int
    corruptions: tuple[CorruptionRow, ...]
    corruptions_of: tuple[str, ...]  # names of the trials
    corruptions_sentence: str
    corruptions_figure: Drawing | None
    recalls: tuple[RecallRow, ...]
    by_class: tuple[ScoredClass, ...]
    columns: tuple[str, ...]  # names of the metrics in `by_class`
    in_metrics: tuple[tuple[str, float], ...]  # name and value over all classes


def images(results: Results) -> Images:
    """Build the template data of the section Predictions: confusion matrix, mistakes, corruptions, metrics by class."""
    names = tuple(results.study.data.classes)
    predictions = results.on_images
    rows = corruption_rows(results)
    figure = corruption_figure(results, [row.name for row in rows])
    return Images(
        sentence=sentence(results),
        classes=names,
        confusion=tuple(confusion_rows(predictions.confusion)) if predictions else (),
        mistakes=tuple(_mistakes(results, names)),
        mistakes_in_all=_wrong(predictions.confusion) if predictions else 0,
        mistaken=_wrong(predictions.confusion) / max(1, int(predictions.confusion.sum())) if predictions else 0.0,
        suspects=tuple(_suspects(results, names)),
        suspects_in_all=len(predictions.suspects) if predictions else 0,
        corruptions=tuple(rows),
        corruptions_of=tuple(f"trial {f.trial.number}" for f in _measured(results)),
        corruptions_sentence=corruptions_sentence(results),
        corruptions_figure=drawing(figure, "Loss of score under every corruption, mild and strong") if figure else None,
        recalls=tuple(recall_rows(results)),
        by_class=tuple(scored_classes(results)),
        columns=tuple(CLASS_COLUMNS.values()),
        in_metrics=tuple((wording.metric_name(name), value) for name, value in predictions.in_metrics.items())
        if predictions
        else (),
    )


def sentence(results: Results) -> str:
    """Return how many images are misclassified, and the most frequent confusion."""
    if results.on_images is None:
        return NO_PREDICTIONS if results.recommended is None else "The predictions for single images were not computed."
    matrix, names = results.on_images.confusion, list(results.study.data.classes)
    wrong, n = _wrong(matrix), int(matrix.sum())
    if not wrong:
        return f"All of {counted(n, 'held-out image')} are classified correctly."
    off = matrix - np.diag(np.diag(matrix))
    label, taken = (int(place) for place in np.unravel_index(int(off.argmax()), off.shape))
    return (
        f"{wrong:,} of {counted(n, 'held-out image')} are misclassified; most often "
        f"{wording.shown(names[label])} is classified as {wording.shown(names[taken])} "
        f"({int(off[label, taken])} of {int(matrix[label].sum())})."
    )


def confusion_rows(matrix: np.ndarray) -> list[tuple[ConfusionCell, ...]]:
    """Return the confusion matrix `(classes, classes)`, true classes down, as counts with their share of the row."""
    rows = []
    for label, row in enumerate(matrix):
        total = int(row.sum()) or 1
        rows.append(
            tuple(ConfusionCell(int(n), round(int(n) / total, 3), label == place) for place, n in enumerate(row))
        )
    return rows


def recall_rows(results: Results) -> list[RecallRow]:
    """Return the expected recall of every class, in label order; none without a promise."""
    recalls = results.recommended.promise.recalls if results.recommended else {}
    return [RecallRow(name, n, recalls[name]) for name, n in results.study.data.classes.items() if name in recalls]


def scored_classes(results: Results) -> list[ScoredClass]:
    """Return the metrics of every class against all others, in label order."""
    scores = results.on_images.by_class if results.on_images else ()
    return [
        ScoredClass(name, one.images, tuple(getattr(one, column) for column in CLASS_COLUMNS))
        for name, one in zip(results.study.data.classes, scores, strict=False)
    ]


def corruption_rows(results: Results) -> list[CorruptionRow]:
    """Return a row for each corruption, the most costly first."""
    measured = _measured(results)
    names = {name for finalist in measured for name in finalist.corruptions}

    def cost(name: str) -> float:
        return max(sum(finalist.corruptions[name]) for finalist in measured if name in finalist.corruptions)

    order = sorted(names, key=lambda name: (-cost(name), name))
    return [CorruptionRow(name, tuple(finalist.corruptions.get(name) for finalist in measured)) for name in order]


def corruptions_sentence(results: Results) -> str:
    """Return which corruption costs most."""
    rows = corruption_rows(results)
    if not rows:
        return "The effect of noise, blur, brightness and shifts was not measured."
    own = [(row.name, row.lost[0]) for row in rows if row.lost[0]]
    if not own:
        return ""
    name, lost = max(own, key=lambda one: one[1][1])
    if lost[1] <= 0.01:
        return "No corruption costs more than 0.01 of the score."
    mild = number(max(0.0, lost[0]))
    return (
        f"Strong {plain_name(name)} costs most: {number(lost[1])} of the score; mild {plain_name(name)} costs {mild}."
    )


def _measured(results: Results) -> list[Finalist]:
    """Return the finalists with measured corruptions, the recommended one first."""
    own = results.recommended.ranked.trial.number if results.recommended else None
    measured = [finalist for finalist in results.finalists if finalist.corruptions]
    return sorted(measured, key=lambda finalist: finalist.trial.number != own)


def _mistakes(results: Results, names: Sequence[str]) -> list[ImageCard]:
    if results.on_images is None:
        return []
    return [
        _picture(results, one.row, names[one.label], names[one.predicted], _likeliest(one.probabilities, names))
        for one in results.on_images.mistakes[:MOST]
    ]


def _suspects(results: Results, names: Sequence[str]) -> list[ImageCard]:
    if results.on_images is None:
        return []
    return [
        _picture(results, one.row, names[one.label], names[one.likely], ((names[one.likely], one.confidence),))
        for one in results.on_images.suspects[:MOST]
    ]


def _picture(results: Results, row: int, label: str, other: str, bars: tuple[tuple[str, float], ...]) -> ImageCard:
    files = results.study.files
    file = files[row] if row < len(files) else f"image {row + 1}"
    return ImageCard(file, label, other, bars, results.study.thumbnails.get(row))


def _likeliest(probabilities: Sequence[float], names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    order = sorted(range(len(probabilities)), key=lambda k: -probabilities[k])[:_LIKELIEST]
    return tuple((names[k], probabilities[k]) for k in order)


def _wrong(matrix: np.ndarray) -> int:
    return int(matrix.sum() - np.trace(matrix))
