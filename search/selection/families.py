"""Families of networks compared: from scratch, and on each pretrained backbone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.records import Trial, TrialState
from search.selection.counts import unique_fits
from search.selection.results import Family, Ranked
from spaces.backbones import NO_BACKBONE


def families(trials: Sequence[Trial], ranking: Sequence[Ranked]) -> tuple[Family, ...]:
    """Return a row for each family of networks, best first; empty if no trial used a backbone.

    Networks from scratch are one family; each pair of backbone and `trainable` is another one. Scores are those of the
    trials that were judged on all folds. Failed and interrupted trials don't count.

    Args:
        trials: all trials of the study.
        ranking: the trials that were judged on all folds, with their scores.
    """
    kinds: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.state not in (TrialState.FAILED, TrialState.INTERRUPTED):
            kinds.setdefault(_kind(trial), []).append(trial)
    if all(backbone == NO_BACKBONE for backbone, _ in kinds):
        return ()
    rows = []
    for (backbone, trainable), own in kinds.items():
        judged = [one for one in ranking if _kind(one.trial) == (backbone, trainable)]
        best = max(judged, key=lambda one: one.pooled, default=None)
        fits = unique_fits(own)
        rows.append(
            Family(
                backbone=backbone,
                trainable=trainable,
                trials=len(own),
                judged=len(judged),
                collapsed=sum(trial.state is TrialState.COLLAPSED for trial in own),
                best=None if best is None else best.pooled,
                se=None if best is None else best.se,
                median=float(np.median([one.pooled for one in judged])) if judged else None,
                trial=None if best is None else best.trial.number,
                seconds=sum(fit.seconds for fit in fits),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.best is None, -(row.best or 0.0), row.backbone, row.trainable)))


def _kind(trial: Trial) -> tuple[str, str]:
    configuration = trial.configuration
    return configuration.backbone, "" if configuration.backbone == NO_BACKBONE else configuration.trainable
