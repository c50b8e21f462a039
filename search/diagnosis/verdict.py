"""Verdict on a network from its fits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from search.diagnosis.evidence import DiagnosisFit, NetworkState

LATE: Final = 0.3  # of the epochs at chance before it learns: a slow starter
CLEAR: Final = 0.05  # balanced accuracy above chance that is not nothing


def counted(runs: Sequence[DiagnosisFit]) -> tuple[DiagnosisFit, ...]:
    """Fits that count for the verdict: those that learned, failed, or ran to their end.

    A fit that was cut off for want of time has not failed. Where all were cut off, all count.
    """
    finished = tuple(run for run in runs if run.learned or run.error or not run.stopped)
    return finished or tuple(runs)


def learned(runs: Sequence[DiagnosisFit]) -> bool:
    """Whether at least two of three fits have learned."""
    return bool(runs) and sum(run.learned for run in runs) * 3 >= 2 * len(runs)


def state(runs: Sequence[DiagnosisFit], chance: float, threshold: float, *, held_out: bool = True) -> NetworkState:
    """Verdict on the network from its fits.

    Args:
        runs: fits of the unchanged network with different seeds.
        chance: balanced accuracy of guessing.
        threshold: balanced accuracy from which a fit has learned.
        held_out: whether the fits were judged on images held out, not on those that they learned from.
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
