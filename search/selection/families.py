"""Pretrained networks and networks from scratch compared: what pretraining is worth, and the kinds of networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.records import Trial, TrialState
from search.selection.results import LinearProbe, NetworkKind, Ranked, WorthOfPretraining
from search.selection.robust_score import paired_differences
from spaces.backbones import NO_BACKBONE
from spaces.config import PRETRAINED, SCRATCH, Configuration


def worth_of_pretraining(ranking: Sequence[Ranked]) -> WorthOfPretraining | None:
    """Compare the best pretrained network with the best one from scratch, on the same folds.

    Both scores are too high, as each is the best of many; the more so, the more configurations were judged.

    Args:
        ranking: the trials that were judged on all folds, with their scores.

    Returns:
        None unless configurations of both families were judged on at least two folds.
    """
    pretrained, scratch = (
        [one for one in ranking if one.trial.configuration.family == family] for family in (PRETRAINED, SCRATCH)
    )
    if not pretrained or not scratch or len(ranking[0].folds) < 2:
        return None
    best = _best(pretrained), _best(scratch)
    scores = np.array([one.folds for one in best])
    _, error = paired_differences(scores, scores.shape[1], 0)
    return WorthOfPretraining(
        pretrained=best[0],
        scratch=best[1],
        pretrained_judged=len(pretrained),
        scratch_judged=len(scratch),
        difference=best[0].pooled - best[1].pooled,
        se=float(error[1]),
    )


def linear_probe(ranking: Sequence[Ranked]) -> LinearProbe | None:
    """Return the best logistic regression on a frozen backbone's features; None if none was judged.

    Args:
        ranking: the trials that were judged on all folds, with their scores.
    """
    probes = [one for one in ranking if _is_logistic_regression(one.trial.configuration)]
    return LinearProbe(ranked=_best(probes), judged=len(probes)) if probes else None


def network_kinds(trials: Sequence[Trial], ranking: Sequence[Ranked]) -> tuple[NetworkKind, ...]:
    """Return a row for each kind of network, best first; empty if no trial used a backbone.

    Networks from scratch are one kind. Others are of the same kind if they have the same backbone, the same part of it
    is trained, and both or neither have a classifier that is solved exactly. Scores are those of the trials that were
    judged on all folds. Failed and interrupted trials don't count.

    Args:
        trials: all trials of the study.
        ranking: the trials that were judged on all folds, with their scores.
    """
    kinds: dict[tuple[str, str, bool], list[Trial]] = {}
    for trial in trials:
        if trial.state not in (TrialState.FAILED, TrialState.INTERRUPTED):
            kinds.setdefault(_kind(trial.configuration), []).append(trial)
    if all(backbone == NO_BACKBONE for backbone, *_ in kinds):
        return ()
    rows = []
    for kind, own in kinds.items():
        judged = [one for one in ranking if _kind(one.trial.configuration) == kind]
        best = _best(judged) if judged else None
        backbone, trainable, is_closed_form = kind
        rows.append(
            NetworkKind(
                backbone=backbone,
                trainable=trainable,
                is_closed_form=is_closed_form,
                trials=len(own),
                judged=len(judged),
                collapsed=sum(trial.state is TrialState.COLLAPSED for trial in own),
                best=None if best is None else best.pooled,
                se=None if best is None else best.se,
                median=float(np.median([one.pooled for one in judged])) if judged else None,
                trial=None if best is None else best.trial.number,
                seconds=sum(trial.seconds for trial in own),
            )
        )
    return tuple(
        sorted(
            rows,
            key=lambda row: (
                row.best is None,
                -(row.best or 0.0),
                row.backbone,
                row.trainable,
                not row.is_closed_form,
            ),
        )
    )


def _best(ranked: Sequence[Ranked]) -> Ranked:
    return max(ranked, key=lambda one: one.pooled)


def _is_logistic_regression(configuration: Configuration) -> bool:
    return configuration.is_closed_form and configuration.classifier == "logistic"


def _kind(configuration: Configuration) -> tuple[str, str, bool]:
    if configuration.backbone == NO_BACKBONE:
        return NO_BACKBONE, "", False
    return configuration.backbone, configuration.trainable, configuration.is_closed_form
