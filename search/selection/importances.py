"""Which hyperparameters decide on the score, and which on whether a network collapses.

A random forest learns the one or the other from the trials. What a hyperparameter explains is what the forest loses,
on trials that a tree has not seen, when the values of that hyperparameter are dealt out anew: noise explains nothing,
however many trials are missing. A hyperparameter is dealt out among the trials only in which it means something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestRegressor

from search import seeds
from search.records import Trial, TrialState
from search.selection.results import Importances
from search.selection.scores import fold_scores
from spaces.config import CHOICES, FIELDS, Configuration, Value

MIN_TRIALS: Final = 20
"""Configurations behind an importance, at least: with fewer it is not better than a guess."""

MIN_OF_EACH: Final = 4
"""Collapsed trials and others, at least, to ask what makes networks collapse."""

_TREES: Final = 100
_DEALS: Final = 5

Array = npt.NDArray[np.float64]


def importances(trials: Sequence[Trial], chance: float, seed: int = 0) -> Importances | None:
    """The importances for the score, among trials that did not collapse, and for collapsed or not, among all.

    Each configuration counts once. Failed and interrupted trials say nothing.

    Args:
        trials: of the study.
        chance: the metric's value for the constant predictor.
        seed: the same gives the same.

    Returns:
        None with fewer than `MIN_TRIALS` configurations. Either part is empty where there are too few trials for it:
        `collapse` with fewer than `MIN_OF_EACH` collapsed or not.
    """
    judged = {trial.configuration.hash: trial for trial in reversed(trials) if _is_judged(trial)}
    known = sorted(judged.values(), key=lambda trial: trial.number)
    if len(known) < MIN_TRIALS:
        return None
    collapsed = [trial.state is TrialState.COLLAPSED for trial in known]
    scored = [trial for trial, dead in zip(known, collapsed, strict=True) if not dead]
    score, collapse = {}, {}
    if len(scored) >= MIN_TRIALS:
        score = explained(
            [trial.configuration for trial in scored], _scores(scored, chance), seeds.child(seed, "score")
        )
    if min(sum(collapsed), len(scored)) >= MIN_OF_EACH:
        target = [float(dead) for dead in collapsed]
        collapse = explained([trial.configuration for trial in known], target, seeds.child(seed, "collapse"))
    return Importances(score=score, collapse=collapse, trials=len(scored), collapsed=sum(collapsed))


def _is_judged(trial: Trial) -> bool:
    return trial.state not in (TrialState.FAILED, TrialState.INTERRUPTED) and bool(fold_scores(trial, 0.0))


def _scores(trials: Sequence[Trial], chance: float) -> list[float]:
    """Mean of the folds that were run, each less what that fold gives or takes: raced trials have seen the first only.

    What a fold does is known from the trials that have all the folds that any has.
    """
    by_fold = [fold_scores(trial, chance) for trial in trials]
    folds = max(by_fold, key=len).keys()
    table = np.array([[scores[fold] for fold in folds] for scores in by_fold if scores.keys() >= folds])
    effect = dict(zip(folds, (table - table.mean(axis=1, keepdims=True)).mean(axis=0), strict=True))
    return [float(np.mean([score - effect.get(fold, 0.0) for fold, score in scores.items()])) for scores in by_fold]


def explained(configurations: Sequence[Configuration], values: Sequence[float], seed: int) -> dict[str, float]:
    """Share of the values' variance that each hyperparameter explains, largest first.

    Half the growth of the mean squared error on unseen trials (Jansen's estimate of a total effect), over the variance;
    divided by their sum where interactions, which count for each of their hyperparameters, add up to more than 1.

    Args:
        configurations: with hyperparameters that differ; those that never do are left out.
        values: of the configurations, finite.
        seed: of the forest and of the deals.
    """
    target = np.asarray(values, dtype=float)
    variance = float(target.var())
    columns = _columns(configurations)
    if variance < 1e-12 or not columns:
        return {column.name: 0.0 for column in columns}
    table = np.concatenate([column.cells for column in columns], axis=1)
    forest: Any = RandomForestRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
    forest.fit(table, target)
    errors = _errors(forest, [table, *_dealt(table, columns, np.random.default_rng(seed))], target)
    growth = errors[1:].reshape(len(columns), _DEALS).mean(axis=1) - errors[0]
    shares = np.maximum(growth, 0.0) / 2 / variance
    shares /= max(1.0, float(shares.sum()))
    return {columns[place].name: float(shares[place]) for place in np.argsort(-shares, kind="stable")}


def _dealt(table: Array, columns: Sequence[_Column], rng: np.random.Generator) -> list[Array]:
    """The table with one hyperparameter dealt out anew, `_DEALS` times for each."""
    found, start = [], 0
    for column in columns:
        stop = start + column.cells.shape[1]
        for _ in range(_DEALS):
            dealt = table.copy()
            dealt[column.active, start:stop] = column.cells[rng.permutation(column.active)]
            found.append(dealt)
        start = stop
    return found


def _errors(forest: Any, tables: Sequence[Array], target: Array) -> Array:
    """Mean squared error on each table: a trial is judged by those trees that have not seen it."""
    cells = np.concatenate(tables).astype(np.float32)
    total, trees = np.zeros((len(tables), len(target))), np.zeros(len(target))
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        unseen = np.bincount(drawn, minlength=len(target)) == 0
        trees += unseen
        total[:, unseen] += tree.predict(cells[np.tile(unseen, len(tables))]).reshape(len(tables), -1)
    known = trees > 0
    errors: Array = ((total[:, known] / trees[known] - target[known]) ** 2).mean(axis=1)
    return errors


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """A hyperparameter as numbers: one column, or one a choice; 0 where it means nothing."""

    name: str
    cells: Array  # (n, columns)
    active: npt.NDArray[np.int64]  # rows where it means something


def _columns(configurations: Sequence[Configuration]) -> list[_Column]:
    """Those hyperparameters that differ where they mean something."""
    actives = [set(one.active) for one in configurations]
    found = []
    for name in FIELDS:
        active = np.array([row for row, names in enumerate(actives) if name in names], dtype=np.int64)
        values: list[Value] = [getattr(configurations[row], name) for row in active]
        if len(set(values)) < 2:
            continue
        choices = CHOICES.get(name)
        cells = np.zeros((len(configurations), len(choices) if choices else 1))
        cells[active] = [[value == choice for choice in choices] if choices else [float(value)] for value in values]
        found.append(_Column(name, cells, active))
    return found
