"""Symptoms: what is wrong with fits that ran to their last epoch without a collapse.

A network that ranks images well but never predicts the rare class has a wrong threshold. One that fails only with
BatchNorm's moving statistics has a problem with these statistics. One whose logits are just beginning to differ needed
more epochs. One that fits its training images but is at chance on others has memorised them. None of these is a
collapse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from search.arrays import FloatArray
from search.causes import BATCHNORM, CHANCE, MEMORISER, MINORITY, SLOW, THRESHOLD
from search.fit_checks import Check


@dataclass(frozen=True, kw_only=True, slots=True)
class SymptomLimits:
    """Thresholds of the symptoms."""

    score: float = 0.05  # above chance: a fit with a score up to here is at chance
    auc: float = 0.65  # a fit with at least this AUC ranks images well
    train_skill: float = 0.5  # a fit at chance with at least this skill on training images has memorised them
    stale_gap: float = 0.3  # validation skill gained by re-estimating BatchNorm's statistics
    growing: float = 1.5  # ratio of the logits' spread over the last third of the checks
    rare: float = 1e-9  # share of the predictions that counts as never


DEFAULT_LIMITS: Final = SymptomLimits()


def symptom(
    checks: Sequence[Check], shares: FloatArray, chance: float, limits: SymptomLimits = DEFAULT_LIMITS
) -> str | None:
    """Return the most specific symptom of a fit that ran to its last epoch.

    Args:
        checks: all checks of the fit, by epoch.
        shares: `(checks, K)` float32, share of the validation images predicted as each class.
        chance: the metric's value for the constant predictor.
        limits: thresholds of the symptoms.

    Returns:
        A key of `search.causes.SYMPTOMS`; None if the fit learned without a symptom or had no validation images.
    """
    if not checks or math.isnan(checks[-1].val_skill):
        return None
    last = checks[-1]
    guesses = not last.score > chance + limits.score
    leaves_out = bool(len(shares)) and float(shares[-1].min()) <= limits.rare
    if guesses and leaves_out and last.auc >= limits.auc:
        return THRESHOLD
    if last.val_skill - last.stale_skill > limits.stale_gap:
        return BATCHNORM
    if guesses and last.train_skill >= limits.train_skill:
        return MEMORISER
    if guesses and _is_waking(checks, limits):
        return SLOW
    if guesses:
        return CHANCE
    return MINORITY if leaves_out and shares.shape[1] > 2 else None


def _is_waking(checks: Sequence[Check], limits: SymptomLimits) -> bool:
    back = checks[-max(2, len(checks) // 3)]
    return 0 < back.logit_spread * limits.growing <= checks[-1].logit_spread
