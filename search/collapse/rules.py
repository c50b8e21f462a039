"""The two-tier collapse rule: structural evidence ends a fit at once, statistical evidence only over a window.

A one-class prediction alone proves nothing: more than a third of the networks that end up useful begin with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from search.arrays import FloatArray
from search.collapse.limits import DEFAULT_LIMITS, Limits
from search.collapse.protection import Protection
from search.fit_checks import HARD_REASONS, REASONS, Check, Collapse

NOT_FINITE: Final = -1e9
"""Value in a collapse's evidence that stands for infinity or NaN; no measurement is that low."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitContext:
    """Facts about a fit that the collapse rules need."""

    epochs: int  # planned epochs
    updates_per_epoch: int  # optimizer steps per epoch
    imbalance: float  # size of the largest / smallest class of the training images, >= 1
    batchnorm: bool  # whether the network has batch normalization
    prior_entropy: float  # H, entropy of the class shares, nats, > 0
    chance: float = math.nan  # the metric's value for the constant predictor; if NaN, no fit is judged hopeless
    protected: Protection = field(default_factory=Protection)


def judge(checks: Sequence[Check], context: FitContext, limits: Limits = DEFAULT_LIMITS) -> Collapse | None:
    """Judge a running fit after its latest check.

    The judgement depends on the arguments alone. Fits without validation images (`val_*` are NaN) are judged by their
    training signals, with more patience.

    Args:
        checks: all checks of the fit so far, by epoch.
        context: facts about the fit.
        limits: thresholds of the rules.

    Returns:
        The collapse for which the fit should end; None to go on.
    """
    if not checks:
        return None
    return _non_finite(checks[-1], context, limits) or _hard(checks, context, limits) or _soft(checks, context, limits)


def judge_end(
    check: Check,
    probabilities: FloatArray,
    context: FitContext,
    limits: Limits = DEFAULT_LIMITS,
    train_auc: float = math.nan,
) -> Collapse | None:
    """Judge a fit that ran to its last epoch, after BatchNorm's statistics were re-estimated.

    A fit has collapsed if it predicts the same class for all images, has no skill in evaluation or training mode, and
    does not rank the images either. A single class with an AUC far from 0.5 is a wrong threshold, not a collapse.

    Args:
        check: check at the last epoch.
        probabilities: `(n, K)` float32, predictions for the validation images; n is 0 without any.
        context: facts about the fit.
        limits: thresholds of the rules.
        train_auc: AUC on training images in evaluation mode; used only without validation images. (Measured in training
            mode, a high learning rate, dropout or label smoothing can hide what was learned.)

    Returns:
        The collapse; None if the fit did not collapse.
    """
    if not check.finite or not np.isfinite(probabilities).all():
        return _collapse("non-finite", check, {"finite": 0.0, "train_loss": check.train_loss})
    evidence = {"train_skill": check.train_skill}
    if len(probabilities) == 0:
        if math.isfinite(train_auc):
            evidence["train_auc"] = train_auc
        lost = check.train_skill < limits.unseen_train_skill and not abs(train_auc - 0.5) >= limits.auc_distance
        return _collapse("prior-predictor", check, evidence) if lost else None
    top_share = float(np.bincount(probabilities.argmax(1)).max() / len(probabilities))
    no_skill = check.val_skill < limits.val_skill and check.train_skill < limits.train_skill
    ranks = abs(check.auc - 0.5) >= limits.auc_distance
    if not no_skill or ranks or top_share < limits.one_class:
        return None
    evidence |= {"val_skill": check.val_skill, "auc": check.auc, "top_share": top_share}
    evidence |= {"logit_spread": check.logit_spread}
    return _collapse(_stuck_reason(check, limits), check, evidence)


def _non_finite(check: Check, context: FitContext, limits: Limits) -> Collapse | None:
    most = limits.exploded_loss * context.prior_entropy
    # With BatchNorm the loss in evaluation may be thousands while training is healthy: only training mode counts.
    losses = (check.train_loss,) if context.batchnorm else (check.train_loss, check.val_loss)
    if check.finite and not any(loss > most for loss in losses):
        return None
    evidence = {"finite": float(check.finite), "train_loss": check.train_loss, "most": most}
    if not math.isnan(check.val_loss):
        evidence["val_loss"] = check.val_loss
    return _collapse("non-finite", check, evidence)


def _hard(checks: Sequence[Check], context: FitContext, limits: Limits) -> Collapse | None:
    now = checks[-1]
    checks_needed = limits.hard_checks_unseen if _unseen(now) else limits.hard_checks
    recent = checks[-checks_needed:]
    if len(recent) < checks_needed or _rising(recent, limits):
        return None
    if not all(_is_broken(check, context, limits) for check in recent):
        return None
    dead = now.dead_share >= limits.dead_share
    return _collapse(
        "dead-layer" if dead else "no-gradient",
        now,
        {
            "dead_share": now.dead_share,
            "first_gradient": now.first_gradient,
            "skill": _skill(now),
            "train_skill": now.train_skill,
            "checks": float(checks_needed),
        },
    )


def _is_broken(check: Check, context: FitContext, limits: Limits) -> bool:
    """Whether nothing gets through the network, and its skill shows it."""
    broken = check.dead_share >= limits.dead_share or check.first_gradient < limits.vanished_gradient
    trains = context.batchnorm and check.train_skill >= limits.hard_skill
    return broken and _skill(check) < limits.hard_skill and not trains and check.warmth >= limits.warm


def _soft(checks: Sequence[Check], context: FitContext, limits: Limits) -> Collapse | None:
    now = checks[-1]
    width = window_epochs(context, limits) * (limits.unseen_window if _unseen(now) else 1.0)
    if now.epoch < max(width, grace_epochs(context, limits)):
        return None
    window = _window(checks, width, limits)
    if len(window) < limits.window_checks:
        return None
    if _unseen(now):
        stuck = not _rising(window, limits) and _is_stuck_unseen(window, context, limits)
        return _stopped(checks, window, "prior-predictor", context, limits) if stuck else None
    if _is_constant(window, limits) or (not _rising(window, limits) and _is_stuck(window, context, limits)):
        return _stopped(checks, window, _stuck_reason(now, limits), context, limits)
    long = _window(checks, limits.hopeless_window * context.epochs, limits)
    if now.epoch >= limits.hopeless_after * context.epochs and _is_hopeless(long, context, limits):
        return _stopped(checks, long, "no-progress", context, limits)
    return None


def _stopped(
    checks: Sequence[Check], window: Sequence[Check], reason: str, context: FitContext, limits: Limits
) -> Collapse | None:
    """The soft collapse, unless earlier trials protect the fit."""
    if context.protected.protects(checks, limits):
        return None
    now = checks[-1]
    evidence = {
        "window_epochs": float(now.epoch - window[0].epoch),
        "train_skill": max(check.train_skill for check in window),
        "loss_change": _loss_change(window, context),
    }
    if not _unseen(now):
        evidence |= {
            "val_skill": max(check.val_skill for check in window),
            "top_share": min(check.top_share for check in window),
            "auc": _mean(window, "auc"),
            "logit_spread": now.logit_spread,
            "first_spread": window[0].logit_spread,
        }
    return _collapse(reason, now, evidence)


def window_epochs(context: FitContext, limits: Limits = DEFAULT_LIMITS) -> float:
    """Return the number of epochs that the soft rule looks back, a fraction allowed.

    It is a share of the planned epochs, but long enough to hold `window_epochs` epochs and `window_updates` updates.

    Args:
        context: facts about the fit.
        limits: thresholds of the rules.
    """
    by_updates = limits.window_updates / context.updates_per_epoch
    return max(limits.window_share * context.epochs, limits.window_epochs, by_updates)


def grace_epochs(context: FitContext, limits: Limits = DEFAULT_LIMITS) -> float:
    """Return the number of epochs before which the soft rule stops no fit, a fraction allowed.

    The grace is longer with rare classes, whose recall drops before it rises (Francazi et al., ICML 2023); the factor 1
    + log10(imbalance) is our own choice.

    Args:
        context: facts about the fit.
        limits: thresholds of the rules.
    """
    wanted = max(limits.grace_share * context.epochs, limits.grace_epochs) * (1 + math.log10(max(context.imbalance, 1)))
    by_updates = limits.grace_updates / context.updates_per_epoch
    return max(min(wanted, limits.grace_most * context.epochs), by_updates)


def _window(checks: Sequence[Check], width: float, limits: Limits) -> Sequence[Check]:
    """The checks of the last `width` epochs; where checks are rare, the last few."""
    inside = sum(check.epoch >= checks[-1].epoch - width for check in checks)
    return checks[-max(inside, limits.window_checks) :]


def _is_stuck(window: Sequence[Check], context: FitContext, limits: Limits) -> bool:
    """Whether no skill shows in either mode, one class is predicted, nothing is ranked and nothing moves.

    NaN never counts against a fit.
    """
    silent = all(
        check.val_skill < limits.val_skill
        and check.train_skill < limits.train_skill
        and check.top_share >= limits.one_class
        and check.warmth >= limits.warm
        for check in window
    )
    return (
        silent
        and _ranks_nothing(window, limits.auc_distance)
        and _loss_change(window, context) < limits.flat_loss
        and not _waking(window, limits)
    )


def _is_constant(window: Sequence[Check], limits: Limits) -> bool:
    """Whether all images get practically one answer, and nothing shows that this changes.

    What skill such a network has comes from the class shares that it says, not from the images.
    """
    silent = all(
        check.top_share >= limits.one_class
        and check.logit_spread < limits.small_spread
        and check.train_skill < limits.constant_train_skill
        and check.warmth >= limits.warm
        for check in window
    )
    return silent and _ranks_nothing(window, limits.auc_distance) and not _waking(window, limits)


def _is_hopeless(window: Sequence[Check], context: FitContext, limits: Limits) -> bool:
    """Whether the fit guesses throughout a long window, and at its present pace still would at the end."""
    silent = all(
        check.val_skill < limits.hopeless_val_skill
        and check.train_skill < limits.hopeless_train_skill
        and check.warmth >= limits.warm
        for check in window
    )
    if not silent or _waking(window, limits) or not _ranks_nothing(window, limits.hopeless_auc):
        return False
    if not _mean(window, "score") < context.chance + limits.hopeless_score:
        return False
    first, now = window[0], window[-1]
    pace = (now.train_skill - first.train_skill) / max(1, now.epoch - first.epoch)
    return now.train_skill + max(0.0, pace) * (context.epochs - now.epoch) < limits.hopeless_train_skill


def _ranks_nothing(window: Sequence[Check], distance: float) -> bool:
    return abs(_mean(window, "auc") - 0.5) < distance


def _waking(window: Sequence[Check], limits: Limits) -> bool:
    """Whether the answers come to differ more from image to image."""
    return not window[-1].logit_spread <= limits.spread_growth * window[0].logit_spread


def _is_stuck_unseen(window: Sequence[Check], context: FitContext, limits: Limits) -> bool:
    """Whether a fit without validation images is stuck."""
    silent = all(check.train_skill < limits.unseen_train_skill and check.warmth >= limits.warm for check in window)
    return silent and _loss_change(window, context) < limits.unseen_flat_loss


def _rising(checks: Sequence[Check], limits: Limits) -> bool:
    return _skill(checks[-1]) - _skill(checks[0]) >= limits.rising_skill


def _unseen(check: Check) -> bool:
    return math.isnan(check.val_skill)


def _skill(check: Check) -> float:
    """Skill on validation images where there are any, else on training images."""
    return check.train_skill if _unseen(check) else check.val_skill


def _mean(window: Sequence[Check], name: str) -> float:
    return float(sum(getattr(check, name) for check in window)) / len(window)


def _loss_change(window: Sequence[Check], context: FitContext) -> float:
    return abs(window[-1].train_loss - window[0].train_loss) / context.prior_entropy


def _stuck_reason(check: Check, limits: Limits) -> str:
    return "constant-output" if check.logit_spread < limits.constant_spread else "prior-predictor"


def _collapse(reason: str, check: Check, evidence: dict[str, float]) -> Collapse:
    if reason not in REASONS:
        raise ValueError(f"unknown reason {reason!r}. Expected a key of `search.fit_checks.REASONS`; add it there.")
    flagged = {name: float(value) if math.isfinite(value) else NOT_FINITE for name, value in evidence.items()}
    return Collapse(reason=reason, hard=reason in HARD_REASONS, epoch=check.epoch, evidence=flagged)
