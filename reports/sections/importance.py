"""The section What matters: importances, safe ranges, slices, kinds of networks, small changes, depth and ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reports import ablation
from reports.figure_style import Drawing, drawing
from reports.plots.ablation import waterfall
from reports.plots.axes import value_of
from reports.plots.slices import slice_of
from reports.sections.depth import MapView, map_view
from reports.sections.pretraining import KindRow, kind_rows, kinds_sentence
from reports.sections.sensitivity import Neighbours, neighbours, neighbours_sentence
from reports.wording import compact, counted, listed, metric_name, percent, plain_name
from search.selection.results import Results, SafeRange

_USUAL: Final = ("learning_rate", "dropout", "batch_size", "depth", "dense_ratio", "initializer")
SLICES: Final = 6  # figures, at most
_SOME: Final = 0.1  # a smaller share of the three that explain most is not worth a sentence
_LITTLE: Final = 0.01  # a smaller share is not worth a row


@dataclass(frozen=True, slots=True)
class HyperparameterRow:
    """A hyperparameter: its importance, recommended value and safe range."""

    name: str
    recommended: str
    safe: str
    seen: int | None  # configurations that support the safe range
    score: float | None  # share of the variance of the score that it explains, 0 .. 1
    bar: float  # percent of the largest share


@dataclass(frozen=True, slots=True)
class Slice:
    """A small figure of one hyperparameter."""

    id: str
    title: str
    figure: Drawing


@dataclass(frozen=True, slots=True)
class Matters:
    """The template data of the section What matters: importances, safe ranges, variants, depth, ablation."""

    sentence: str
    rows: tuple[HyperparameterRow, ...]
    has_shares: bool  # whether the rows have a `score`
    rows_note: str
    kinds: tuple[KindRow, ...]  # empty if no backbone was tried
    kinds_sentence: str
    slices: tuple[Slice, ...]
    neighbours: Neighbours | None
    neighbours_sentence: str
    map: MapView
    ablation_rows: tuple[ablation.AblationRow, ...]
    ablation_sentence: str
    ablation_start: str  # how the fits of the user's configuration ended
    ablation_note: str
    ablation_figure: Drawing | None


def matters(results: Results) -> Matters:
    """Build the template data of the section What matters: importances, safe ranges, variants, depth, ablation."""
    record, steps = results.study.ablation, ablation.rows(results)
    return Matters(
        sentence=sentence(results),
        rows=tuple(rows(results)),
        has_shares=bool(results.importances and results.importances.score),
        rows_note=_rows_note(results),
        kinds=tuple(kind_rows(results)),
        kinds_sentence=kinds_sentence(results),
        slices=tuple(_slices(results)),
        neighbours=neighbours(results.neighbourhood),
        neighbours_sentence=neighbours_sentence(results),
        map=map_view(results),
        ablation_rows=tuple(steps),
        ablation_sentence=ablation.sentence(results),
        ablation_start=(ablation.collapsed(record.start) or "all learned") if record else "",
        ablation_note=_ablation_note(results),
        ablation_figure=drawing(
            waterfall(results),
            "Score of your configuration, gain or loss of each change, score of the recommended configuration",
        )
        if steps
        else None,
    )


def sentence(results: Results) -> str:
    """Return which hyperparameters explain most of the score."""
    shares = results.importances.score if results.importances else {}
    if not results.importances or not shares:
        return "There are too few trials to say which hyperparameters matter."
    order = sorted(shares, key=lambda name: -shares[name])
    first = [f"{plain_name(name)} ({percent(shares[name])})" for name in order[:3] if shares[name] > 0.02]
    if not first or sum(shares[name] for name in order[:3]) < _SOME:
        return "No single hyperparameter explains the differences in score."
    where = "Within each family (from scratch, pretrained), the" if _has_both_families(results) else "The"
    return f"{where} differences in score are explained mostly by {listed(first)}."


def _has_both_families(results: Results) -> bool:
    return len({trial.configuration.family for trial in results.study.trials}) > 1


def rows(results: Results) -> list[HyperparameterRow]:
    """Return a row for each hyperparameter with an importance or a safe range, the most important first."""
    shares = dict(results.importances.score) if results.importances else {}
    configuration = results.recommended.ranked.trial.configuration if results.recommended else None
    names = sorted(_relevant(results), key=lambda name: (-shares.get(name, 0.0), name))
    most = max(shares.values(), default=0.0) or 1.0
    table = []
    for name in names:
        value = value_of(configuration, name) if configuration else None
        safe_range = results.safe_ranges.get(name)
        table.append(
            HyperparameterRow(
                name,
                "–" if value is None else compact(value),
                safe_range_text(safe_range) if safe_range else "–",
                safe_range.configurations if safe_range else None,
                shares.get(name),
                round(100 * max(0.0, shares.get(name, 0.0)) / most, 2),
            )
        )
    return table


def _relevant(results: Results) -> set[str]:
    shares = results.importances.score if results.importances else {}
    wide = {
        name
        for name, safe_range in results.safe_ranges.items()
        if len(safe_range.choices) > 1 or safe_range.low != safe_range.high
    }
    return wide | {name for name, share in shares.items() if share >= _LITTLE}


def safe_range_text(safe_range: SafeRange) -> str:
    """Return a safe range as text: `0.001 to 0.01`, one value if both ends look the same, choices with commas.

    An en dash if an end is unknown.
    """
    if safe_range.choices:
        return ", ".join(compact(choice) for choice in safe_range.choices)
    if safe_range.low is None or safe_range.high is None:
        return "–"
    low, high = compact(safe_range.low), compact(safe_range.high)
    return low if low == high else f"{low} to {high}"


def _slices(results: Results) -> list[Slice]:
    shares = results.importances.score if results.importances else {}
    relevant = [name for name in shares if shares[name] >= _LITTLE]
    names = [*sorted(relevant, key=lambda name: -shares[name]), *_USUAL, *results.safe_ranges]
    metric = metric_name(results.study.identity.metric)
    slices: list[Slice] = []
    for name in dict.fromkeys(names):
        figure = slice_of(results, name)
        if figure is not None:
            label = f"{metric} of every trial by {plain_name(name)}"
            slices.append(Slice(f"slice-{len(slices) + 1}", plain_name(name), drawing(figure, label)))
        if len(slices) == SLICES:
            break
    return slices


def _rows_note(results: Results) -> str:
    within = " within its family of networks" if _has_both_families(results) else ""
    parts = []
    if results.importances and results.importances.score:
        parts.append(
            f"Share of the differences in score that each hyperparameter explains{within}, among the "
            f"{results.importances.trials:,} trials that did not collapse. Shares below 1 % are left out."
        )
    if results.safe_ranges:
        parts.append(
            "A safe range contains the recommended value and the values of variants without a cliff and of "
            "configurations that are as good. Values outside it are not known to be as good."
        )
    if alone := sorted(plain_name(name) for name in results.safe_ranges.keys() - _relevant(results)):
        parts.append(f"Only the recommended value is known to be safe for {listed(alone)}.")
    return " ".join(parts)


def _ablation_note(results: Results) -> str:
    record = results.study.ablation
    if record is None:
        return ""
    return (
        f"The hyperparameters are changed one after another, and each step is fitted on the same "
        f"{counted(record.folds, 'fold')} of the search. Scores are means over these folds, so the last one differs a "
        f"little from the score over all folds. {ablation.noise(results)} {ablation.cost(record)}"
    )
