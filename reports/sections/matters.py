"""What matters: importances, safe ranges, slices, the neighbourhood, depth, the way from the user's configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reports import ablation
from reports.drawing import Drawing, drawing
from reports.plots.ablation import stair
from reports.plots.axes import value_of
from reports.plots.slices import slice_of
from reports.wording import compact, counted, listed, metric_name, number, percent, plain_name
from search.selection.results import MapCell, Neighbour, Results, SafeRange

_USUAL: Final = ("learning_rate", "dropout", "batch_size", "depth", "dense_ratio", "initializer")
SLICES: Final = 6


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
class NeighbourRow:
    """A slightly changed copy."""

    changes: str
    score: str
    difference: str
    start: float  # percent from the left, of its bar
    width: float
    worse: bool
    cliff: str  # "" or what makes it one


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


@dataclass(frozen=True, slots=True)
class Matters:
    """Everything of the fourth section."""

    sentence: str
    rows: tuple[Row, ...]
    rows_note: str
    slices: tuple[Slice, ...]
    neighbours: tuple[NeighbourRow, ...]
    neighbours_sentence: str
    zero: float  # percent from the left where the neighbours' bars begin
    noise: tuple[float, float]  # percent, from and to, of two standard errors around it
    map: MapView
    way: tuple[ablation.Row, ...]
    way_sentence: str
    way_start: str
    way_note: str
    way_figure: Drawing | None


def matters(results: Results) -> Matters:
    """The fourth section."""
    made, way = results.study.ablation, ablation.rows(results)
    zero, noise, neighbours = _neighbours(results)
    return Matters(
        sentence=sentence(results),
        rows=tuple(rows(results)),
        rows_note=_rows_note(results),
        slices=tuple(_slices(results)),
        neighbours=tuple(neighbours),
        neighbours_sentence=neighbours_sentence(results),
        zero=zero,
        noise=noise,
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


def rows(results: Results) -> list[Row]:
    """A row a hyperparameter, the most important first."""
    shares = dict(results.importances.score) if results.importances else {}
    configuration = results.recommended.ranked.trial.configuration if results.recommended else None
    names = sorted({*shares, *results.safe_ranges}, key=lambda name: (-shares.get(name, 0.0), name))
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


def safe_text(held: SafeRange) -> str:
    """The safe range in a few words."""
    if held.choices:
        return ", ".join(compact(choice) for choice in held.choices)
    if held.low is None or held.high is None:
        return "–"
    low, high = compact(held.low), compact(held.high)
    return low if low == high else f"{low} to {high}"


def neighbours_sentence(results: Results) -> str:
    """What small changes do."""
    around = results.neighbourhood
    if around is None:
        return (
            "What small changes do to the recommended configuration was not tried."
            if results.recommended
            else "Without a recommended configuration there is nothing to change a little."
        )
    cliffs = sum(one.cliff for one in around.neighbours)
    metric = metric_name(results.study.identity.metric)
    middle = f"in the median they lose {number(max(0.0, around.drop))} of {number(around.centre)} {metric}"
    tried = counted(len(around.neighbours), "slightly changed copy", "slightly changed copies")
    if around.cliff or cliffs:
        return f"Near a cliff: of {tried}, {cliffs} fell off; {middle}."
    return f"On firm ground: of {tried} none fell off; {middle}."


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


def _slices(results: Results) -> list[Slice]:
    shares = results.importances.score if results.importances else {}
    names = [*sorted(shares, key=lambda name: -shares[name]), *_USUAL, *results.safe_ranges]
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


def _neighbours(results: Results) -> tuple[float, tuple[float, float], list[NeighbourRow]]:
    """Where the bars begin, the band of noise, the rows: worst first."""
    around = results.neighbourhood
    if around is None or not around.neighbours:
        return 50.0, (50.0, 50.0), []
    ends = [0.0, 2 * around.se, -2 * around.se, *(one.difference for one in around.neighbours)]
    low, high = min(ends), max(ends)

    def place(value: float) -> float:
        return round(100 * (value - low) / ((high - low) or 1.0), 2)

    made = [
        NeighbourRow(
            changes=_changes(one),
            score=number(one.score),
            difference=ablation.signed(one.difference),
            start=place(min(0.0, one.difference)),
            width=round(abs(place(one.difference) - place(0.0)), 2),
            worse=one.difference < 0,
            cliff=("collapsed" if one.collapsed else "cliff") if one.cliff else "",
        )
        for one in around.neighbours
    ]
    return place(0.0), (place(-2 * around.se), place(2 * around.se)), made


def _changes(one: Neighbour) -> str:
    return ", ".join(f"{plain_name(name)} {compact(a)} → {compact(b)}" for name, (a, b) in one.changes.items())


def _rows_note(results: Results) -> str:
    parts = []
    if results.importances and results.importances.score:
        parts.append(
            f"Share of the differences in score that each explains, among the {results.importances.trials:,} trials "
            "that did not collapse."
        )
    if results.safe_ranges:
        parts.append(
            "A range holds where neighbours without a cliff and configurations as good as the best lie; outside it "
            "nothing is known to be as good."
        )
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


def _span(ends: tuple[float, float] | tuple[int, int], word: Callable[[float], str]) -> str:
    low, high = word(ends[0]), word(ends[1])
    return low if low == high else f"{low.removesuffix(' %')}–{high}"
