"""On the images: what is taken for what, the worst mistakes, likely wrong labels, worse images, recall by class."""

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

NOT_LOOKED: Final = "Without a recommended configuration there are no predictions to look at."
MOST: Final = 24  # images shown
CLASS_COLUMNS: Final[Mapping[str, str]] = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "auc": "ROC AUC",
    **{metric: METRICS[metric].title for metric in ("average_precision", "recall_at_precision")},
}
"""What is told of every class, and what it is called."""
_LIKELIEST: Final = 3  # classes with their probability


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class and how many of its images are recognised."""

    name: str
    images: int
    recall: tuple[float, float, float]  # expected, low, high


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """Images of one class decided as one class."""

    count: int
    share: float  # of the class
    right: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to look at."""

    file: str
    given: str
    other: str  # predicted, or likely
    bars: tuple[tuple[str, float], ...]  # likeliest classes with their probability
    thumbnail: str | None  # JPEG, base64


@dataclass(frozen=True, slots=True)
class CorruptionRow:
    """What a corruption costs: lost points, mild and strong, the recommended one first."""

    name: str
    lost: tuple[tuple[float, float] | None, ...]  # by finalist


@dataclass(frozen=True, slots=True)
class ScoredClass:
    """How well a class is told from all others."""

    name: str
    images: int
    values: tuple[float, ...]  # as `CLASS_COLUMNS`; NaN without images


@dataclass(frozen=True, slots=True)
class Images:
    """Everything that the section shows."""

    sentence: str
    classes: tuple[str, ...]
    confusion: tuple[tuple[ConfusionCell, ...], ...]
    mistakes: tuple[Picture, ...]
    mistakes_in_all: int
    mistaken: float  # share of the images
    suspects: tuple[Picture, ...]
    suspects_in_all: int
    corruptions: tuple[CorruptionRow, ...]
    corruptions_of: tuple[str, ...]  # trials
    corruptions_sentence: str
    corruptions_figure: Drawing | None
    recalls: tuple[ClassRow, ...]
    by_class: tuple[ScoredClass, ...]
    columns: tuple[str, ...]  # of them
    in_metrics: tuple[tuple[str, float], ...]  # name, value


def images(results: Results) -> Images:
    """The section, laid out."""
    names = tuple(results.study.data.classes)
    seen = results.on_images
    rows = corruption_rows(results)
    figure = corruption_figure(results, [row.name for row in rows])
    return Images(
        sentence=sentence(results),
        classes=names,
        confusion=tuple(confusion_rows(seen.confusion)) if seen else (),
        mistakes=tuple(_mistakes(results, names)),
        mistakes_in_all=_wrong(seen.confusion) if seen else 0,
        mistaken=_wrong(seen.confusion) / max(1, int(seen.confusion.sum())) if seen else 0.0,
        suspects=tuple(_suspects(results, names)),
        suspects_in_all=len(seen.suspects) if seen else 0,
        corruptions=tuple(rows),
        corruptions_of=tuple(f"trial {f.trial.number}" for f in _measured(results)),
        corruptions_sentence=corruptions_sentence(results),
        corruptions_figure=drawing(figure, "Points of the score lost under every corruption, mild and strong")
        if figure
        else None,
        recalls=tuple(recall_rows(results)),
        by_class=tuple(scored_classes(results)),
        columns=tuple(CLASS_COLUMNS.values()),
        in_metrics=tuple((wording.metric_name(name), value) for name, value in seen.in_metrics.items()) if seen else (),
    )


def sentence(results: Results) -> str:
    """What is taken for what most often."""
    if results.on_images is None:
        return NOT_LOOKED if results.recommended is None else "The mistakes on single images were not worked out."
    matrix, names = results.on_images.confusion, list(results.study.data.classes)
    wrong, n = _wrong(matrix), int(matrix.sum())
    if not wrong:
        return f"All of {counted(n, 'image')} are recognised when they were held back."
    off = matrix - np.diag(np.diag(matrix))
    given, taken = (int(place) for place in np.unravel_index(int(off.argmax()), off.shape))
    return (
        f"{wrong:,} of {counted(n, 'image')} are mistaken when they were held back; most often "
        f"{wording.shown(names[given])} is taken for {wording.shown(names[taken])} "
        f"({int(off[given, taken])} of {int(matrix[given].sum())})."
    )


def confusion_rows(matrix: np.ndarray) -> list[tuple[ConfusionCell, ...]]:
    """Counts with their share of the class."""
    made = []
    for given, row in enumerate(matrix):
        total = int(row.sum()) or 1
        made.append(
            tuple(ConfusionCell(int(n), round(int(n) / total, 3), given == place) for place, n in enumerate(row))
        )
    return made


def recall_rows(results: Results) -> list[ClassRow]:
    """Expected recall of every class, in label order; none without a promise."""
    recalls = results.recommended.promise.recalls if results.recommended else {}
    return [ClassRow(name, n, recalls[name]) for name, n in results.study.data.classes.items() if name in recalls]


def scored_classes(results: Results) -> list[ScoredClass]:
    """Every class against all others, in label order."""
    told = results.on_images.by_class if results.on_images else ()
    return [
        ScoredClass(name, one.images, tuple(getattr(one, column) for column in CLASS_COLUMNS))
        for name, one in zip(results.study.data.classes, told, strict=False)
    ]


def corruption_rows(results: Results) -> list[CorruptionRow]:
    """A row a corruption, the most costly first."""
    measured = _measured(results)
    names = {name for finalist in measured for name in finalist.corruptions}

    def cost(name: str) -> float:
        return max(sum(finalist.corruptions[name]) for finalist in measured if name in finalist.corruptions)

    order = sorted(names, key=lambda name: (-cost(name), name))
    return [CorruptionRow(name, tuple(finalist.corruptions.get(name) for finalist in measured)) for name in order]


def corruptions_sentence(results: Results) -> str:
    """What hurts most."""
    rows = corruption_rows(results)
    if not rows:
        return "What noise, blur, other light or shifts cost was not measured."
    own = [(row.name, row.lost[0]) for row in rows if row.lost[0]]
    if not own:
        return ""
    name, lost = max(own, key=lambda one: one[1][1])
    if lost[1] <= 0.01:
        return "No corruption costs more than a hundredth of the score."
    mild = number(max(0.0, lost[0]))
    return f"Strong {plain_name(name)} costs most: {number(lost[1])} of the score; a mild one {mild}."


def _measured(results: Results) -> list[Finalist]:
    """Finalists with corruptions, the recommended one first."""
    own = results.recommended.ranked.trial.number if results.recommended else None
    measured = [finalist for finalist in results.finalists if finalist.corruptions]
    return sorted(measured, key=lambda finalist: finalist.trial.number != own)


def _mistakes(results: Results, names: Sequence[str]) -> list[Picture]:
    if results.on_images is None:
        return []
    return [
        _picture(results, one.row, names[one.given], names[one.predicted], _likeliest(one.probabilities, names))
        for one in results.on_images.mistakes[:MOST]
    ]


def _suspects(results: Results, names: Sequence[str]) -> list[Picture]:
    if results.on_images is None:
        return []
    return [
        _picture(results, one.row, names[one.given], names[one.likely], ((names[one.likely], one.confidence),))
        for one in results.on_images.suspects[:MOST]
    ]


def _picture(results: Results, row: int, given: str, other: str, bars: tuple[tuple[str, float], ...]) -> Picture:
    files = results.study.files
    file = files[row] if row < len(files) else f"image {row + 1}"
    return Picture(file, given, other, bars, results.study.thumbnails.get(row))


def _likeliest(probabilities: Sequence[float], names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    order = sorted(range(len(probabilities)), key=lambda k: -probabilities[k])[:_LIKELIEST]
    return tuple((names[k], probabilities[k]) for k in order)


def _wrong(matrix: np.ndarray) -> int:
    return int(matrix.sum() - np.trace(matrix))
