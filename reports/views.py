"""What the page shows, laid out as plain rows and positions: arithmetic of the presentation, no markup."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from reports.wording import evidence_text, percent, reason
from search.causes import CAUSES, SYMPTOMS
from search.records import Verdict
from search.selection.results import MapCell, Ranked, Results

SHOWN: Final = 20  # rows of the table of the best

_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of the metric's axis: values to percent of the width."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Percent from the left, 0 .. 100; what lies outside sticks to the end."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def ticks(self) -> list[float]:
        """Round values on the stretch, at most nine."""
        width = self.high - self.low
        step = next((s for s in _STEPS if width / s <= 8), width)
        first = math.ceil(round(self.low / step, 6))
        return [round(i * step, 6) for i in range(first, math.floor(round(self.high / step, 6)) + 1)]


@dataclass(frozen=True, slots=True)
class Mark:
    """One value on the headline's scale."""

    kind: str  # class of the stylesheet
    name: str
    value: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class CauseRow:
    """A likely cause: in how many trainings, and the evidence of the clearest one."""

    code: str
    sentence: str
    first: int  # trainings in which it is the likeliest
    named: int
    evidence: str
    layer: str | None
    trial: int


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """A reason of collapses: how often, what it means, when it was seen."""

    code: str
    sentence: str
    fits: int
    share: float  # of the most frequent one, for the bar
    median_epoch: int | None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class of the data set and what the recommendation makes of it."""

    name: str
    images: int
    share: float  # of the largest class, for the bar
    recall: tuple[float, float, float] | None  # expected, low, high


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell of the depth x dense-ratio map."""

    trials: int
    collapsed: int
    score: float | None
    strength: float  # 0 .. 1 between chance and the best cell


@dataclass(frozen=True, slots=True)
class MapView:
    """The depth x dense-ratio map as a table."""

    columns: tuple[str, ...]  # dense ratios
    rows: tuple[tuple[str, tuple[CellView | None, ...]], ...]  # depth, cells


def marks(results: Results) -> list[Mark]:
    """The values beside the promise: the optimistic score, the test, chance and the baselines."""
    recommended = results.recommended
    found: list[Mark] = []
    if recommended:
        found.append(Mark("promise", "promise", recommended.promise.value, "expected on new images"))
        note = "the best of many, so too good"
        found.append(Mark("optimistic", "search score", recommended.ranked.pooled, note))
    if results.study.test:
        n = results.study.test.n
        found.append(Mark("test", "test", results.study.test.score, f"measured on {n:,} images never touched"))
    found.append(Mark("chance", "chance", results.chance, "always the class shares, knowing no image"))
    notes = {"knn": ("nearest neighbour", "on small pixels"), "logistic": ("logistic regression", "on small pixels")}
    for name, value in results.study.baselines.items():
        if name in notes and math.isfinite(value):
            found.append(Mark("baseline", notes[name][0], value, notes[name][1]))
    return found


def headline_scale(results: Results, shown: Iterable[Mark]) -> Scale:
    """A stretch that holds all marks and the interval, with some air, within what the metric can be."""
    values = [mark.value for mark in shown if math.isfinite(mark.value)]
    if results.recommended:
        values += [results.recommended.promise.low, results.recommended.promise.high]
    return _stretch(values or [results.chance])


def folds_scale(ranking: Sequence[Ranked], chance: float) -> Scale:
    """One stretch for the fold dots of all rows."""
    return _stretch([chance, *(score for ranked in ranking[:SHOWN] for score in ranked.folds)])


def _stretch(values: Sequence[float]) -> Scale:
    low, high = min(values), max(values)
    air = max(0.05, 0.06 * (high - low))
    bottom = low - air if low < 0 else max(0.0, low - air)
    return Scale(math.floor(20 * bottom + 1e-9) / 20, max(math.ceil(20 * min(1.0, high + air) - 1e-9) / 20, high))


def reason_rows(results: Results) -> list[ReasonRow]:
    """Collapses by reason, most frequent first."""
    epochs: dict[str, list[int]] = {}
    for trial in results.study.trials:
        for fit in trial.fits:
            if fit.verdict is Verdict.COLLAPSED and fit.reason:
                epochs.setdefault(fit.reason, []).append(fit.epochs)
    most = max(results.collapse_reasons.values(), default=1) or 1
    return [
        ReasonRow(code, reason(code), count, round(100 * count / most, 2), _median(epochs.get(code, [])))
        for code, count in results.collapse_reasons.items()
    ]


def cause_rows(results: Results) -> list[CauseRow]:
    """Likely causes, those most often likeliest first, with the strongest case's evidence."""
    return [
        CauseRow(
            one.code,
            CAUSES.get(one.code, one.code),
            one.first,
            one.named,
            evidence_text(one.strongest.evidence),
            one.strongest.layer,
            one.trial,
        )
        for one in results.causes
    ]


def symptom_rows(results: Results) -> list[tuple[str, str, int]]:
    """Symptom, sentence, number of trainings."""
    return [(code, SYMPTOMS.get(code, code), count) for code, count in results.symptoms.items()]


def _median(values: Sequence[int]) -> int | None:
    return sorted(values)[len(values) // 2] if values else None


def class_rows(results: Results) -> list[ClassRow]:
    """The classes in label order."""
    classes = results.study.data.classes
    most = max(classes.values(), default=1) or 1
    recalls = results.recommended.promise.recalls if results.recommended else {}
    return [ClassRow(name, n, round(100 * n / most, 2), recalls.get(name)) for name, n in classes.items()]


def map_view(results: Results) -> MapView:
    """The cells as a table: depth down, dense ratio across."""
    cells = {(cell.depth, cell.dense_ratio): cell for cell in results.depth_map}
    depths = sorted({depth for depth, _ in cells})
    ratios = sorted({ratio for _, ratio in cells})
    best = max((cell.score for cell in cells.values() if cell.score is not None), default=results.chance)

    def view(cell: MapCell | None) -> CellView | None:
        if cell is None or not cell.trials:
            return None
        above = 0.0 if cell.score is None else max(0.0, cell.score - results.chance)
        strength = above / (best - results.chance) if best > results.chance else 0.0
        return CellView(cell.trials, cell.collapsed, cell.score, round(strength, 3))

    return MapView(
        columns=tuple(_span(ratio, percent) for ratio in ratios),
        rows=tuple((_span(depth, str), tuple(view(cells.get((depth, ratio))) for ratio in ratios)) for depth in depths),
    )


def _span(ends: tuple[float, float] | tuple[int, int], word: Callable[[float], str]) -> str:
    low, high = word(ends[0]), word(ends[1])
    return low if low == high else f"{low.removesuffix(' %')}–{high}"
