"""Shares of a search that networks from scratch and pretrained networks get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from search.optimize.racing_pruner import fold_scores
from search.selection.robust_score import clearly_behind
from search.storage.trial_attributes import SECONDS, is_done
from spaces.config import FAMILIES
from spaces.space import FAMILY

SHARE_BEHIND: Final = 0.2
"""Share of the search that a family keeps which is clearly behind, so that the report can still say what its networks
depend on. Chosen."""

_COMPLETE: Final = 3  # trials of each family before one can be behind


@dataclass(frozen=True, slots=True)
class FamilyShares:
    """Rule by which a sampler chooses the family of each trial: the one that is furthest below its share.

    Both have half of the search, until the best trial of one is clearly behind the best of the other one.

    Attributes:
        by_seconds: share the seconds that trials took; otherwise their number, which any run repeats exactly.
    """

    by_seconds: bool

    def __call__(self, trials: Sequence[FrozenTrial]) -> str:
        """Return the family of the next trial, one of `FAMILIES`.

        Args:
            trials: all trials of the study.
        """
        shares = self.shares(trials)
        return min(FAMILIES, key=lambda family: self._used([t for t in trials if _is_of(t, family)]) / shares[family])

    def _used(self, trials: Sequence[FrozenTrial]) -> float:
        """What the trials of a family took of the search; one that is running counts as the mean of the others."""
        done = [trial.user_attrs.get(SECONDS, 0.0) if self.by_seconds else 1.0 for trial in trials if is_done(trial)]
        running = sum(trial.state == TrialState.RUNNING for trial in trials)
        usual = sum(done) / len(done) if done else 1.0
        return sum(done) + running * usual

    def shares(self, trials: Sequence[FrozenTrial]) -> dict[str, float]:
        """Return the share of each family, together 1.

        Args:
            trials: all trials of the study.
        """
        equal = dict.fromkeys(FAMILIES, 1 / len(FAMILIES))
        best = []
        for family in FAMILIES:
            judged = [t for t in trials if t.state == TrialState.COMPLETE and _is_of(t, family)]
            if len(judged) < _COMPLETE:
                return equal
            best.append(fold_scores(max(judged, key=lambda t: t.value or 0.0).intermediate_values))
        folds = min(map(len, best))
        if folds < 2:  # scores that are not finite
            return equal
        scores = np.array([scores[:folds] for scores in best])
        ahead = int(scores.mean(1).argmax())
        if not clearly_behind(scores, folds, ahead)[1 - ahead]:
            return equal
        return {family: 1 - SHARE_BEHIND if place == ahead else SHARE_BEHIND for place, family in enumerate(FAMILIES)}


def _is_of(trial: FrozenTrial, family: str) -> bool:
    return bool(trial.params.get(FAMILY) == family)
