"""Neighbourhood of the recommended configuration: how much small changes cost, and where cliffs are.

The idea is the neighbourhood criterion of stable Bayesian optimization: if a small change destroys a high score, the
score was luck, or the configuration is fragile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from search.records import ON_SEARCH_FOLDS, Fit, Sensitivity, Variant, Verdict
from search.selection.results import Neighbour, Neighbourhood, Ranked
from search.selection.scores import JUDGED, fit_score
from search.selection.standard_error import standard_error

CLIFF: Final = 2.0
"""Number of standard errors of a difference; a change that costs more than that is a cliff."""

_ENOUGH: Final = 3
"""Smallest number of configurations on all folds from which the deviation of a difference is estimated."""


def neighbourhood(sensitivity: Sensitivity, fits: Iterable[Fit], best: Ranked, chance: float) -> Neighbourhood | None:
    """Compare the variants with the recommended configuration on the same folds.

    The standard error of a difference is Nadeau and Bengio's. Its deviation can't come from the variants: a single fold
    has none, and the spread of their scores contains the true effects of the changes. It is that of
    `difference_deviation`.

    Args:
        sensitivity: the variants that were tried, and the configuration that they vary.
        fits: all fits of the study; fits on other splits than the search's are ignored.
        best: the recommended configuration with its scores in the search.
        chance: the metric's value for the constant predictor.

    Returns:
        None if no variant was fitted on all its folds, or if the variants are those of another configuration.
    """
    if sensitivity.centre != best.trial.configuration.hash:
        return None
    by_fold = _fits_by_fold(fits)
    common = range(min(sensitivity.folds, len(best.folds)))
    centre = float(np.mean([best.folds[fold] for fold in common]))
    se = standard_error(difference_deviation(by_fold, best, chance), len(common), max(len(best.folds), 2))
    neighbours = []
    for variant in sensitivity.variants:
        own = by_fold.get(variant.configuration.hash, {})
        if all(fold in own for fold in common):
            neighbours.append(_neighbour(variant, [own[fold] for fold in common], centre, se, chance))
    if not neighbours:
        return None
    drop = centre - float(np.median([one.score for one in neighbours]))
    return Neighbourhood(
        neighbours=tuple(sorted(neighbours, key=lambda one: one.difference)),
        centre=centre,
        se=se,
        drop=drop,
        cliff=drop > CLIFF * se or any(one.collapsed for one in neighbours),
    )


def difference_deviation(by_fold: Mapping[str, Mapping[int, Sequence[Fit]]], best: Ranked, chance: float) -> float:
    """Return the standard deviation of the difference between two configurations' scores on the same fold.

    It is sqrt(2) times the residual deviation of the table configurations x folds after row and column means are
    subtracted. The table holds the better half of the configurations that learned on all folds, as poor networks vary
    differently. With fewer than three of them, it is sqrt(2) times the deviation behind the standard error of `best`,
    as if scores on the same fold were independent.

    Args:
        by_fold: fits on the search's folds: hash of the configuration -> fold -> fits.
        best: the recommended configuration with its scores in the search.
        chance: the metric's value for the constant predictor.
    """
    folds = len(best.folds)
    table = np.array(
        [
            [float(np.mean([fit_score(fit, chance) for fit in own[fold]])) for fold in range(folds)]
            for own in by_fold.values()
            if set(own) >= set(range(folds)) and all(f.verdict is Verdict.LEARNED for fs in own.values() for f in fs)
        ]
    )
    if len(table) and folds > 1:
        table = table[table.mean(axis=1) >= np.median(table.mean(axis=1))]
    if len(table) >= _ENOUGH and folds > 1:
        rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
        variance = float((rest**2).sum()) / ((table.shape[0] - 1) * (folds - 1))
        if variance > 1e-12:  # else they all score the same, but for rounding
            return float(np.sqrt(2 * variance))
    return float(np.sqrt(2)) * best.se / (standard_error(1.0, folds, folds) if folds > 1 else 1.0)


def _fits_by_fold(fits: Iterable[Fit]) -> dict[str, dict[int, list[Fit]]]:
    """Judged fits on the search's folds, each once, by configuration and fold."""
    by_fold: dict[str, dict[int, list[Fit]]] = defaultdict(lambda: defaultdict(list))
    for fit in {fit.key: fit for fit in fits}.values():
        if fit.stage in ON_SEARCH_FOLDS and fit.verdict in JUDGED:
            by_fold[fit.configuration][fit.fold].append(fit)
    return {name: dict(folds) for name, folds in by_fold.items()}


def _neighbour(variant: Variant, folds: Sequence[Sequence[Fit]], centre: float, se: float, chance: float) -> Neighbour:
    score = float(np.mean([np.mean([fit_score(fit, chance) for fit in fits]) for fits in folds]))
    collapsed = any(fit.verdict is Verdict.COLLAPSED for fits in folds for fit in fits)
    return Neighbour(
        changes=variant.changes,
        score=score,
        difference=score - centre,
        collapsed=collapsed,
        cliff=collapsed or score - centre < -CLIFF * se,
    )
