"""What others would have stopped, as far as the kept signals tell it: each rule gives the epoch at which it fires.

Thresholds as published or as in the tools' code: Amazon SageMaker Debugger's built-in rules (developer guide),
AutoTrainer (ICSE 2021, `monitor.py`), BTTackler (KDD 2024, `btassessor.py`). They look at training steps or single
epochs; here they see what was measured at the checks, at most thirty a fit. Accuracy is balanced accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from search.fit_checks import LAYER_SIGNALS, Check

Rule = Callable[[Any], int | None]
"""Audited fit -> epoch at which the rule would stop it, None for never."""


def _layer(fit: Any, name: str) -> Any:
    """One signal at the checks: (checks, layers)."""
    return fit.layers[1:, :, LAYER_SIGNALS.index(name)]


def _first(fit: Any, fires: Sequence[bool] | Any) -> int | None:
    return next((check.epoch for check, fired in zip(fit.checks, fires, strict=True) if fired), None)


def _at(fit: Any, epoch: int, fires: Callable[[Check], bool]) -> int | None:
    """Judged once, at the first check at or after the epoch."""
    check = next((check for check in fit.checks if check.epoch >= epoch), None)
    return check.epoch if check is not None and fires(check) else None


def one_class_at_3(fit: Any) -> int | None:
    """All validation images in one class at epoch 3."""
    return _at(fit, 3, lambda check: check.top_share >= 0.999999)


def at_chance_at_5(fit: Any) -> int | None:
    """Balanced accuracy within .05 of chance at epoch 5."""
    return _at(fit, 5, lambda check: check.score <= 1 / fit.classes + 0.05)


def flat_loss_for_5(fit: Any) -> int | None:
    """Training loss improved by less than 1 % in five epochs."""
    losses = [check.train_loss for check in fit.checks]
    for place, check in enumerate(fit.checks):
        back = [p for p in range(place) if fit.checks[p].epoch <= check.epoch - 5]
        if back and losses[place] > 0.99 * losses[back[-1]]:
            return check.epoch
    return None


def early_stopping_10(fit: Any) -> int | None:
    """Keras' EarlyStopping on the validation loss with patience 10."""
    best, since = math.inf, 0
    for check in fit.checks:
        if check.val_loss < best:
            best, since = check.val_loss, check.epoch
        elif check.epoch - since >= 10:
            return check.epoch
    return None


def half_dead_at_10(fit: Any) -> int | None:
    """More than half of a layer's units dead at epoch 10."""
    return _at(fit, 10, lambda check: check.dead_share > 0.5)


def sagemaker_dead_relu(fit: Any) -> int | None:
    """DeadRelu: more than half of a layer's units inactive."""
    if fit.configuration.activation != "relu":
        return None
    return _first(fit, [check.dead_share > 0.5 for check in fit.checks])


def sagemaker_vanishing(fit: Any) -> int | None:
    """VanishingGradient: mean absolute gradient below 1e-7 in a layer."""
    return _first(fit, (_layer(fit, "gradient") < 1e-7).any(1))


def sagemaker_not_decreasing(fit: Any) -> int | None:
    """LossNotDecreasing: less than .1 % over ten steps (here: from check to check)."""
    losses = [check.train_loss for check in fit.checks]
    return _first(fit, [i > 0 and losses[i] > 0.999 * losses[i - 1] for i in range(len(losses))])


def sagemaker_initialization(fit: Any) -> int | None:
    """PoorWeightInitialization: variances of the layers' weights differ by more than ten."""
    variance = fit.layers[0, :, LAYER_SIGNALS.index("weight_scale")] ** 2
    return fit.checks[0].epoch if variance.max() > 10 * max(variance.min(), 1e-30) else None


def sagemaker_any(fit: Any) -> int | None:
    """Whichever of the above, of update ratios outside [1e-8, 10], or of non-finite tensors comes first."""
    update = _layer(fit, "update_ratio")
    more = [
        _first(fit, ((update > 10) | (update < 1e-8)).any(1)),
        _first(fit, [not check.finite for check in fit.checks]),
    ]
    rules = (sagemaker_dead_relu, sagemaker_vanishing, sagemaker_not_decreasing, sagemaker_initialization)
    return min((e for e in [*more, *(rule(fit) for rule in rules)] if e is not None), default=None)


def autotrainer(fit: Any) -> int | None:
    """Vanishing, exploding, dying ReLU or slow convergence, from 30 % of the epochs on, while accuracy is below .7."""
    zero = _layer(fit, "zero_gradients")
    scores = [check.score for check in fit.checks]
    for i, check in enumerate(fit.checks):
        if not check.finite or check.val_loss >= 1e5:
            return check.epoch
        if check.epoch < 0.3 * fit.context.epochs or max(scores[: i + 1]) >= 0.7:
            continue
        first, last = check.first_gradient, max(check.last_gradient, 1e-30)
        gains = np.diff(scores[: i + 1])
        vanish = first / last < 1e-3 and first < 1e-4
        slow = len(gains) > 0 and gains.max() < 0.01
        if vanish or first / last > 70 or np.nanmax(zero[i], initial=0) >= 0.7 or slow:
            return check.epoch
    return None


def bttackler(fit: Any) -> int | None:
    """Exploding, vanishing, dying ReLU and static loss; without its protection of the best tenth."""
    gradient, zero = _layer(fit, "gradient"), _layer(fit, "zero_gradients")
    losses = np.array([check.train_loss for check in fit.checks])
    for i, check in enumerate(fit.checks):
        if not check.finite:
            return check.epoch
        early = check.epoch <= fit.context.epochs / 2
        g = np.maximum(gradient[i], 0)
        if np.isfinite(g).all():
            ratio = np.median(g[:-1] / np.maximum(g[1:], 1e-30)) if len(g) > 1 else 1.0
            if np.median(g) > 1e4 or ratio > 1e3:
                return check.epoch
            if early and (np.median(g) < 1e-5 or ratio < 1e-4 or (g == 0).any()):
                return check.epoch
        if check.epoch >= 5 and np.nanmedian(zero[i]) > 0.5:
            return check.epoch
        if early and i >= 2 and losses[: i + 1].std() / max(losses[: i + 1].mean(), 1e-30) < 1e-4:
            return check.epoch
    return None


RIVALS: Final[dict[str, Rule]] = {
    "one class at epoch 3": one_class_at_3,
    "balanced accuracy at chance at 5": at_chance_at_5,
    "training loss flat for 5 epochs": flat_loss_for_5,
    "EarlyStopping, patience 10": early_stopping_10,
    "half a layer dead at 10": half_dead_at_10,
    "SageMaker DeadRelu": sagemaker_dead_relu,
    "SageMaker VanishingGradient": sagemaker_vanishing,
    "SageMaker LossNotDecreasing": sagemaker_not_decreasing,
    "SageMaker PoorWeightInitialization": sagemaker_initialization,
    "SageMaker, all": sagemaker_any,
    "AutoTrainer": autotrainer,
    "BTTackler": bttackler,
}
"""By the name in the table."""
