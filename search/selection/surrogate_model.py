"""Surrogate model: a random forest that predicts the score of an untried configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from search.records import Trial, TrialState
from search.selection.scores import fold_scores
from spaces.config import CHOICES, Configuration

MIN_TRIALS: Final = 15
"""Smallest number of scored configurations for a surrogate; with fewer, a fixed order of changes works better."""

_TREES: Final = 100


class Surrogate:
    """Random forest that predicts the score of a configuration from the scores of others.

    Args:
        observations: pairs of configuration and score.
        seed: seed of the forest; the same seed and observations give the same predictions.
    """

    def __init__(self, observations: Sequence[tuple[Configuration, float]], seed: int) -> None:
        self._observations = list(observations)
        self._seed = seed
        self._forest: Any = None

    def learn(self, configuration: Configuration, score: float) -> None:
        """Add a configuration and its score; the forest is fitted again at the next prediction."""
        self._observations.append((configuration, score))
        self._forest = None

    def predict(self, configurations: Sequence[Configuration]) -> list[float]:
        """Return the predicted score of each configuration, in units of the study's metric."""
        from sklearn.ensemble import RandomForestRegressor  # a second that no search waits for

        if self._forest is None:
            rows = np.array([encoded(configuration) for configuration, _ in self._observations])
            self._forest = RandomForestRegressor(_TREES, random_state=self._seed)
            self._forest.fit(rows, [score for _, score in self._observations])
        return [float(value) for value in self._forest.predict(np.array([encoded(c) for c in configurations]))]


def observed_scores(trials: Sequence[Trial], chance: float) -> list[tuple[Configuration, float]]:
    """Return each judged configuration once with its score: the mean of its folds, at most chance if it collapsed.

    Args:
        trials: all trials of the study; failed and interrupted ones are left out.
        chance: the metric's value for the constant predictor.
    """
    by_hash: dict[str, tuple[Configuration, float]] = {}
    for trial in trials:
        scores = fold_scores(trial, chance)
        if trial.state in (TrialState.FAILED, TrialState.INTERRUPTED) or not scores:
            continue
        score = float(np.mean(list(scores.values())))
        score = min(score, chance) if trial.state is TrialState.COLLAPSED else score
        by_hash.setdefault(trial.configuration.hash, (trial.configuration, score))
    return list(by_hash.values())


def encoded(configuration: Configuration) -> list[float]:
    """Encode a configuration's canonical form as a row of numbers.

    Categorical hyperparameters are one-hot, numbers are not scaled, inactive hyperparameters are 0. All rows have the
    same length.
    """
    values = configuration.canonical()
    row: list[float] = []
    for name in ("n_conv", "n_dense", *(name for name in configuration.as_dict() if name not in _RESOLVED)):
        if name in CHOICES:
            row += [float(values.get(name) == choice) for choice in CHOICES[name]]
        else:
            row.append(float(values.get(name, 0.0)))
    return row


_RESOLVED: Final = ("depth", "dense_ratio")  # into numbers of layers
