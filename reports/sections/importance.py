"""What matters: importances, safe ranges, slices, and with them neighbours, depth, and the way from the user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from reports import ablation
from reports.figure_style import Drawing, drawing
from reports.plots.ablation import stair
from reports.plots.axes import value_of
from reports.plots.slices import slice_of
from reports.sections.depth import MapView, map_view
from reports.sections.sensitivity import Neighbours, neighbours, neighbours_sentence
from reports.wording import compact, counted, duration, family, listed, metric_name, number, percent, plain_name
from search.selection.results import Results, SafeRange
from spaces.backbones import NO_BACKBONE

_USUAL: Final = ("learning_rate", "dropout", "batch_size", "depth", "dense_ratio", "initializer")
SLICES: Final = 6
_LITTLE: Final = 0.01  # share that is not worth a row


@dataclass(frozen=True, slots=True)
class Row:
    """A hyperparameter: what it explains, what is recommended, what holds."""

    name: str
    recommended: str
    safe: str
    seen: int | None
    score: float | None  # share explained, 0 .. 1
    bar: float  # percent of the largest


@dataclass(frozen=True, slots=True)
class Slice:
    """A small figure of one hyperparameter."""

    id: str
    title: str
    figure: Drawing


@dataclass(frozen=True, slots=True)
class Kind:
    """From scratch, or on a backbone: a row of the table that sets them side by side."""

    name: str
    trials: int
    collapsed: int
    judged: int
    best: str
    median: str
    time: str


@dataclass(frozen=True, slots=True)
class Matters:
    """Everything that the section shows."""

    sentence: str
    rows: tuple[Row, ...]
    weighed: bool  # whether the rows have shares
    rows_note: str
    kinds: tuple[Kind, ...]  # none where no backbone was tried
    kinds_sentence: str
    slices: tuple[Slice, ...]
    neighbours: Neighbours | None
    neighbours_sentence: str
    map: MapView
    way: tuple[ablation.Row, ...]
    way_sentence: str
    way_start: str
    way_note: str
    way_figure: Drawing | None


def matters(results: Results) -> Matters:
    """The section, laid out."""
    made, way = results.study.ablation, ablation.rows(results)
    return Matters(
        sentence=sentence(results),
        rows=tuple(rows(results)),
        weighed=bool(results.importances and results.importances.score),
        rows_note=_rows_note(results),
        kinds=tuple(kinds(results)),
        kinds_sentence=kinds_sentence(results),
        slices=tuple(_slices(results)),
        neighbours=neighbours(results.neighbourhood),
        neighbours_sentence=neighbours_sentence(results),
        map=map_view(results),
        way=tuple(way),
        way_sentence=ablation.sentence(results),
        way_start=(ablation.collapsed(made.start) or "all learned") if made else "",
        way_note=_way_note(results),
        way_figure=drawing(
            stair(results),
            "Score of your configuration, what each change adds or takes, score of the recommended one",
        )
        if way
        else None,
    )


def sentence(results: Results) -> str:
    """What explains most of the score."""
    shares = results.importances.score if results.importances else {}
    if not results.importances or not shares:
        return "Which hyperparameters matter can't be told from so few trials."
    order = sorted(shares, key=lambda name: -shares[name])
    first = [f"{plain_name(name)} ({percent(shares[name])})" for name in order[:3] if shares[name] > 0.02]
    if not first:
        return "No hyperparameter by itself explains the scores."
    return f"Of the differences between the scores, most is explained by {listed(first)}."


def kinds(results: Results) -> list[Kind]:
    """From scratch and pretrained, the best first."""
    return [
        Kind(
            name=family(one.backbone, one.trainable),
            trials=one.trials,
            collapsed=one.collapsed,
            judged=one.judged,
            best="–" if one.best is None else f"{number(one.best)} ± {number(one.se)}",
            median=number(one.median),
            time=duration(one.seconds),
        )
        for one in results.families
    ]


def kinds_sentence(results: Results) -> str:
    """What a pretrained network brings, as far as the search's folds tell."""
    judged = [one for one in results.families if one.best is not None]
    own = next((one for one in judged if one.backbone == NO_BACKBONE), None)
    other = next((one for one in judged if one.backbone != NO_BACKBONE), None)
    if own is None or other is None or own.best is None or other.best is None:
        return "Only one kind of network was judged on all folds."
    error = math.hypot(own.se or 0.0, other.se or 0.0)
    apart = abs(other.best - own.best)
    if apart <= 2 * error:
        return "The best pretrained network and the best from scratch are not clearly apart."
    ahead = (other, own) if other.best > own.best else (own, other)
    first, second = (family(one.backbone, one.trainable) for one in ahead)
    return f"On the search's folds the best is {first}, {number(apart)} ahead of {second}."


def rows(results: Results) -> list[Row]:
    """A row for every hyperparameter that explains something or has room, the most important first."""
    shares = dict(results.importances.score) if results.importances else {}
    configuration = results.recommended.ranked.trial.configuration if results.recommended else None
    names = sorted(_telling(results), key=lambda name: (-shares.get(name, 0.0), name))
    most = max(shares.values(), default=0.0) or 1.0
    found = []
    for name in names:
        value = value_of(configuration, name) if configuration else None
        held = results.safe_ranges.get(name)
        found.append(
            Row(
                name,
                "–" if value is None else compact(value),
                safe_text(held) if held else "–",
                held.seen if held else None,
                shares.get(name),
                round(100 * max(0.0, shares.get(name, 0.0)) / most, 2),
            )
        )
    return found


def _telling(results: Results) -> set[str]:
    shares = results.importances.score if results.importances else {}
    wide = {name for name, held in results.safe_ranges.items() if len(held.choices) > 1 or held.low != held.high}
    return wide | {name for name, share in shares.items() if share >= _LITTLE}


def safe_text(held: SafeRange) -> str:
    """The safe range in a few words."""
    if held.choices:
        return ", ".join(compact(choice) for choice in held.choices)
    if held.low is None or held.high is None:
        return "–"
    low, high = compact(held.low), compact(held.high)
    return low if low == high else f"{low} to {high}"


def _slices(results: Results) -> list[Slice]:
    shares = results.importances.score if results.importances else {}
    telling = [name for name in shares if shares[name] >= _LITTLE]
    names = [*sorted(telling, key=lambda name: -shares[name]), *_USUAL, *results.safe_ranges]
    metric = metric_name(results.study.identity.metric)
    found: list[Slice] = []
    for name in dict.fromkeys(names):
        figure = slice_of(results, name)
        if figure is not None:
            label = f"{metric} of every trial by {plain_name(name)}"
            found.append(Slice(f"slice-{len(found) + 1}", plain_name(name), drawing(figure, label)))
        if len(found) == SLICES:
            break
    return found


def _rows_note(results: Results) -> str:
    parts = []
    if results.importances and results.importances.score:
        parts.append(
            f"Share of the differences in score that each explains, among the {results.importances.trials:,} trials "
            f"that did not collapse; what explains less than a hundredth is left out."
        )
    if results.safe_ranges:
        parts.append(
            "A range holds where neighbours without a cliff and configurations as good as the best lie; outside it "
            "nothing is known to be as good."
        )
    if alone := sorted(plain_name(name) for name in results.safe_ranges.keys() - _telling(results)):
        parts.append(f"Only the recommended value was seen to hold of {listed(alone)}.")
    return " ".join(parts)


def _way_note(results: Results) -> str:
    made = results.study.ablation
    if made is None:
        return ""
    return (
        "One hyperparameter is changed after the other, and each step is trained on the same "
        f"{counted(made.folds, 'fold')} of the search; the scores are their means, so the last one differs a little "
        f"from the score over all folds. {ablation.noise(results)} {ablation.cost(made)}"
    )
