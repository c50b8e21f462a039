"""Verdict on a network from its fits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from search.diagnosis.evidence import DiagnosisFit, NetworkState

LATE: Final = 0.3  # share of the epochs: a network that is at chance until then learns slowly
CLEAR: Final = 0.05  # balanced accuracy above chance that counts as more than chance


def counted(runs: Sequence[DiagnosisFit]) -> tuple[DiagnosisFit, ...]:
    """Select the fits that count for the verdict: those that learned, failed, or ran to their last epoch.

    If all fits were stopped because time ran out, all count.
    """
    finished = tuple(run for run in runs if run.learned or run.error or not run.stopped)
    return finished or tuple(runs)


def learned(runs: Sequence[DiagnosisFit]) -> bool:
    """Whether at least two thirds of the fits have learned; False without fits."""
    return bool(runs) and sum(run.learned for run in runs) * 3 >= 2 * len(runs)


def state(runs: Sequence[DiagnosisFit], chance: float, threshold: float, *, held_out: bool = True) -> NetworkState:
    """Judge a network by its fits.

    Args:
        runs: fits of the unchanged network with different seeds.
        chance: balanced accuracy of guessing, 0..1.
        threshold: balanced accuracy from which a fit has learned, 0..1.
        held_out: whether the fits were scored on held-out images; False: on their training images.
    """
    if learned(runs):
        if not held_out:
            return NetworkState.UNTOLD
        return NetworkState.SLOW if _most(runs, lambda run: _starts_late(run, chance)) else NetworkState.HEALTHY
    failing = [run for run in runs if not run.learned]
    if _most(failing, lambda run: bool(run.epochs) and not run.epochs[-1].finite):
        return NetworkState.NON_FINITE
    if _most(failing, lambda run: (run.batch_statistics_score or 0.0) >= threshold):
        return NetworkState.BATCHNORM
    if _most(failing, lambda run: bool(run.epochs) and run.epochs[-1].auc >= 0.75 and run.score < chance + CLEAR):
        return NetworkState.THRESHOLD
    if _most(failing, lambda run: run.train_score >= chance + 0.5 * (1 - chance)):
        return NetworkState.MEMORISER
    if _most(failing, lambda run: run.score >= chance + CLEAR):
        return NetworkState.WEAK
    return NetworkState.COLLAPSED


def _most(runs: Sequence[DiagnosisFit], holds: Callable[[DiagnosisFit], bool]) -> bool:
    return bool(runs) and sum(holds(run) for run in runs) * 2 > len(runs)


def _starts_late(run: DiagnosisFit, chance: float) -> bool:
    """Whether a fit stays at chance for the first 30 % of its epochs, at least three."""
    scores = [epoch.train_score for epoch in run.epochs]
    early = [score for score in scores[: max(3, int(LATE * len(scores)))] if score == score]
    return len(scores) >= 6 and all(score < chance + CLEAR for score in early)
