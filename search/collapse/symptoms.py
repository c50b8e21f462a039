"""Symptoms of fits that ran to their end without simply learning.

A network that ranks images well but never says the rare class has a wrong threshold; one that is lost only with
BatchNorm's moving statistics has a statistics problem; one that is still waking up needed more epochs; one that knows
its training images by heart and guesses on others has memorised them. None of these is a collapse.
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
    """Thresholds from which a symptom counts."""

    score: float = 0.05  # above chance at most: the fit guesses
    auc: float = 0.65  # from which on it ranks well
    train_skill: float = 0.5  # by heart
    stale_gap: float = 0.3  # validation skill gained by re-estimating BatchNorm's statistics
    growing: float = 1.5  # ratio of the logits' spread over the last third of the checks
    rare: float = 1e-9  # share of the predictions that counts as never


DEFAULT_LIMITS: Final = SymptomLimits()


def symptom(
    checks: Sequence[Check], shares: FloatArray, chance: float, limits: SymptomLimits = DEFAULT_LIMITS
) -> str | None:
    """Name the most specific symptom of a finished fit, a key of `SYMPTOMS`.

    None for a fit that learned without a remark or has no validation images.

    Args:
        checks: of a fit that ran to its end, by epoch.
        shares: `(checks, K)` float32, share of the validation images given to each class.
        chance: value of the study's metric for the constant predictor.
        limits: thresholds of the symptoms.
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
