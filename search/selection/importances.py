"""Importances: which hyperparameters decide on the score, and which on whether a network collapses.

A random forest learns the score, or collapsed or not, from the trials. The importance of a hyperparameter is the growth
of the forest's out-of-bag error when the values of that hyperparameter are permuted, so noise has no importance even
with few trials. A hyperparameter is permuted only among the trials in which it is active.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search import seeds
from search.records import Trial, TrialState
from search.selection.results import Importances
from search.selection.scores import fold_scores
from spaces.config import CHOICES, FIELDS, SCRATCH, Configuration, Value

MIN_TRIALS: Final = 20
"""Smallest number of configurations behind an importance: with fewer it is not better than a guess."""

MIN_OF_EACH: Final = 4
"""Smallest number of collapsed trials, and of others, from which importances for collapse are computed."""

_TREES: Final = 150
_PERMUTATIONS: Final = 10  # with both, another seed moves a share of 0.05 by about 0.01
_PERMUTED_ROWS: Final = 10_000  # in all permutations of a hyperparameter: with many trials fewer are enough

Array = npt.NDArray[np.float64]


def importances(trials: Sequence[Trial], chance: float, seed: int = 0) -> Importances | None:
    """Return how much each hyperparameter decides on the score, and on whether a network collapses.

    Importances for the score are computed on the trials that did not collapse. Where both pretrained networks and
    networks from scratch were tried, they explain the differences within each of these families: the difference between
    them would hide all others. Importances for collapse are computed on all trials but those with a classifier that is
    solved exactly, which can't collapse. Each configuration counts once. Failed and interrupted trials are left out.

    Args:
        trials: all trials of the study.
        chance: the metric's value for the constant predictor.
        seed: seed of the forests and permutations; the same seed gives the same importances.

    Returns:
        None with fewer than `MIN_TRIALS` configurations. `score` is empty if fewer than `MIN_TRIALS` did not collapse;
        `collapse` is empty if fewer than `MIN_OF_EACH` collapsed or fewer than `MIN_OF_EACH` did not.
    """
    judged = {trial.configuration.hash: trial for trial in reversed(trials) if _is_judged(trial)}
    by_number = sorted(judged.values(), key=lambda trial: trial.number)
    if len(by_number) < MIN_TRIALS:
        return None
    scored = [trial for trial in by_number if trial.state is not TrialState.COLLAPSED]
    trained = [trial for trial in by_number if not trial.configuration.is_closed_form]
    collapsed = [trial.state is TrialState.COLLAPSED for trial in trained]
    score, collapse = {}, {}
    if len(scored) >= MIN_TRIALS:
        score = explained(
            [trial.configuration for trial in scored],
            _scores(scored, chance),
            seeds.child(seed, "score"),
            within_families=True,
        )
    if min(sum(collapsed), len(trained) - sum(collapsed)) >= MIN_OF_EACH:
        target = [float(is_collapsed) for is_collapsed in collapsed]
        collapse = explained([trial.configuration for trial in trained], target, seeds.child(seed, "collapse"))
    return Importances(score=score, collapse=collapse, trials=len(scored), collapsed=sum(collapsed))


def _is_judged(trial: Trial) -> bool:
    return trial.state not in (TrialState.FAILED, TrialState.INTERRUPTED) and bool(fold_scores(trial, 0.0))


def _scores(trials: Sequence[Trial], chance: float) -> list[float]:
    """Mean of the folds that were run, each less that fold's own effect: raced trials have run the first folds only.

    The effect of a fold is measured on the trials that have all the folds that any has.
    """
    by_fold = [fold_scores(trial, chance) for trial in trials]
    folds = max(by_fold, key=len).keys()
    table = np.array([[scores[fold] for fold in folds] for scores in by_fold if scores.keys() >= folds])
    effect = dict(zip(folds, (table - table.mean(axis=1, keepdims=True)).mean(axis=0), strict=True))
    return [float(np.mean([score - effect.get(fold, 0.0) for fold, score in scores.items()])) for scores in by_fold]


def explained(
    configurations: Sequence[Configuration], values: Sequence[float], seed: int, *, within_families: bool = False
) -> dict[str, float]:
    """Return the share of the values' variance that each hyperparameter explains, 0..1, largest first.

    The share is half the growth of the out-of-bag mean squared error under permutation (Jansen's estimate of a total
    effect), divided by the variance. Interactions count for each of their hyperparameters; if the shares add up to more
    than 1 for that reason, they are divided by their sum.

    Args:
        configurations: the configurations; hyperparameters with the same value in all of them are left out.
        values: one finite value per configuration.
        seed: seed of the forest and of the permutations.
        within_families: explain the differences from the mean of all networks of the same family, from scratch or
            pretrained. The backbone is then a hyperparameter of pretrained networks only.
    """
    from sklearn.ensemble import RandomForestRegressor  # a second that no search waits for

    target = np.asarray(values, dtype=float)
    families = np.array([one.family for one in configurations])
    apart = within_families and len(set(families)) > 1
    if apart:
        target = target - [target[families == family].mean() for family in families]
    variance = float(target.var())
    columns = _columns(configurations, {"backbone"} if apart else set())
    if variance < 1e-12 or not columns:
        return {column.name: 0.0 for column in columns}
    table = np.concatenate([column.cells for column in columns], axis=1)
    forest: Any = RandomForestRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
    forest.fit(table, target)
    unseen = ~np.stack([np.bincount(drawn, minlength=len(target)) > 0 for drawn in forest.estimators_samples_])
    judge = _Judge(forest.estimators_, unseen, target)
    error = judge.error([table])
    rng = np.random.default_rng(seed)
    growth = np.array([judge.error(permuted) - error for permuted in _permuted(table, columns, rng)])
    shares = np.maximum(growth, 0.0) / 2 / variance
    shares /= max(1.0, float(shares.sum()))
    return {columns[place].name: float(shares[place]) for place in np.argsort(-shares, kind="stable")}


def _permuted(table: Array, columns: Sequence[_Column], rng: np.random.Generator) -> Iterator[list[Array]]:
    """Tables for each hyperparameter in which its values are permuted among the rows where it means something."""
    start, permutations = 0, max(1, min(_PERMUTATIONS, _PERMUTED_ROWS // len(table)))
    for column in columns:
        stop = start + column.cells.shape[1]
        tables = [table.copy() for _ in range(permutations)]
        for permuted in tables:
            permuted[column.active, start:stop] = column.cells[rng.permutation(column.active)]
        yield tables
        start = stop


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """The forest's out-of-bag predictions compared with the target: a trial is predicted by trees not fitted to it."""

    trees: Sequence[Any]
    unseen: npt.NDArray[np.bool_]  # (trees, n)
    target: Array  # (n,)

    def error(self, tables: Sequence[Array]) -> float:
        """Mean squared error over tables of n rows."""
        cells = np.stack(tables).astype(np.float32)
        total = np.zeros(cells.shape[:2])
        for tree, rows in zip(self.trees, self.unseen, strict=True):
            inputs = np.ascontiguousarray(cells[:, rows].reshape(-1, cells.shape[2]))
            total[:, rows] += tree.predict(inputs, check_input=False).reshape(len(tables), -1)
        trees = self.unseen.sum(axis=0)
        covered = trees > 0
        return float(((total[:, covered] / trees[covered] - self.target[covered]) ** 2).mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """A hyperparameter as numbers: one column, or one a choice; 0 where it means nothing."""

    name: str
    cells: Array  # (n, columns)
    active: npt.NDArray[np.int64]  # rows where it means something


def _columns(configurations: Sequence[Configuration], of_pretrained: set[str]) -> list[_Column]:
    """Columns of the hyperparameters that differ where they mean something; some only on pretrained networks."""
    actives = [set(one.active) - (of_pretrained if one.family == SCRATCH else set()) for one in configurations]
    columns = []
    for name in FIELDS:
        active = np.array([row for row, names in enumerate(actives) if name in names], dtype=np.int64)
        values: list[Value] = [getattr(configurations[row], name) for row in active]
        if len(set(values)) < 2:
            continue
        choices = CHOICES.get(name)
        cells = np.zeros((len(configurations), len(choices) if choices else 1))
        cells[active] = [[value == choice for choice in choices] if choices else [float(value)] for value in values]
        columns.append(_Column(name, cells, active))
    return columns
