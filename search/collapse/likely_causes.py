"""Likely causes of a collapse, from the configuration and the fit's measurements: ranked hypotheses with evidence.

The tests run from the most specific evidence to the least: non-finite numbers, dead layers, signals that vanish or
explode before the first step, weights that hardly move or jump, weights that shrink to zero, and settings of the
configuration (dropout, uncorrected class imbalance). Scores only order the hypotheses; they are not probabilities, and
only an experiment confirms a hypothesis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from search.arrays import FloatArray
from search.causes import Cause
from search.collapse.limits import DEFAULT_LIMITS
from search.fit_checks import LAYER_SIGNALS, Check
from spaces.backbones import BACKBONES
from spaces.config import Configuration
from spaces.losses import LOSSES
from spaces.optimizers import OPTIMIZERS

_FADED: Final = 1e-2  # ratio of activation scale or gradient across the network, before the first step
_BLOWN: Final = 1e2
_STILL: Final = 1e-6  # |change of the weights| / |weights|, per step (DeepDiagnosis, TheDeepChecker: 1e-4 to 1e-1 is
_JUMPING: Final = 1e-1  # usual)
_SHRUNK: Final = 0.1  # of the weights' initial size
_FAR_LOSS: Final = 5.0  # times the prior's entropy, before the first step; two or three times is usual
_MUCH_DROPOUT: Final = 0.5
_RARE: Final = 3.0  # largest / smallest class


def likely_causes(
    configuration: Configuration,
    checks: Sequence[Check],
    layers: FloatArray,
    start: Mapping[str, float],
    prior_entropy: float,
    imbalance: float,
) -> tuple[Cause, ...]:
    """Return the likely causes of a fit's collapse, each once, most likely first; empty if no test finds one.

    Args:
        configuration: configuration of the fit.
        checks: checks of the fit, by epoch.
        layers: `(1 + checks, weight layers, signals)` float32, signals as in `LAYER_SIGNALS`; the first row was
            measured before the first step. May be empty.
        start: measurements before the first step, under the keys `loss`, `logit_spread`, `top_share` and `finite`.
        prior_entropy: entropy of the class shares, nats, > 0.
        imbalance: size of the largest / smallest class of the training images, >= 1.
    """
    hypotheses = [
        *_exploded(configuration, checks, layers, start, prior_entropy),
        *_dead(configuration, layers),
        *_hopeless_start(configuration, layers),
        *_step_size(configuration, checks, layers),
        *_pulled_to_zero(configuration, layers),
        *_by_configuration(configuration, checks, imbalance),
    ]
    best: dict[str, Cause] = {}
    for cause in hypotheses:
        if cause.code not in best or cause.score > best[cause.code].score:
            best[cause.code] = cause
    return tuple(sorted(best.values(), key=lambda cause: -cause.score))


def _signal(layers: FloatArray, name: str) -> FloatArray:
    return layers[:, :, LAYER_SIGNALS.index(name)]


def _exploded(
    configuration: Configuration,
    checks: Sequence[Check],
    layers: FloatArray,
    start: Mapping[str, float],
    prior_entropy: float,
) -> Iterator[Cause]:
    lost = next((check for check in checks if not check.finite), None)
    if lost is not None:
        yield Cause(code="nan", score=0.6, evidence={"epoch": lost.epoch})
        fastest = _largest_update(checks, layers)
        rate = configuration.learning_rate
        yield Cause(code="lr-too-high", score=0.8, evidence={"learning_rate": rate, "update_ratio": _plain(fastest)})
    if start.get("finite", 1.0) == 0.0 or start.get("loss", 0.0) > _FAR_LOSS * prior_entropy:
        evidence = {"start_loss": _plain(start.get("loss", math.nan)), "prior_entropy": prior_entropy}
        yield Cause(code="exploding-gradient", score=0.55, evidence=evidence)


def _dead(configuration: Configuration, layers: FloatArray) -> Iterator[Cause]:
    shares = _signal(layers, "dead_share")[:, :-1]
    if shares.size == 0:
        return
    worst = np.nan_to_num(shares).max(1)
    dead = np.flatnonzero(worst >= DEFAULT_LIMITS.dead_share)
    if not dead.size:
        return
    place = int(np.nan_to_num(shares[dead[0]]).argmax())
    born = dead[0] == 0
    evidence: dict[str, float | str] = {
        "dead_share": float(worst[dead[0]]),
        "when": "from the start" if born else "later",
    }
    yield Cause(code="dead-relu", score=0.85, layer=configuration.layer_names[place], evidence=evidence)
    if born:
        yield Cause(code="bad-initializer", score=0.7, evidence={"initializer": configuration.initializer})
    else:
        yield Cause(code="lr-too-high", score=0.75, evidence={"learning_rate": configuration.learning_rate})


def _hopeless_start(configuration: Configuration, layers: FloatArray) -> Iterator[Cause]:
    """Signals that fade or blow up on their way through the untrained network, forward or backward."""
    if layers.shape[0] == 0 or layers.shape[1] < 3:
        return
    scale, gradient = _signal(layers, "scale")[0], _signal(layers, "gradient")[0]
    forward = _ratio(scale[-2], scale[0])
    backward = _ratio(gradient[0], gradient[-1])
    worst = min(forward, backward)
    if worst < _FADED:
        evidence = {"last_to_first_activation": forward, "first_to_last_gradient": backward}
        depth = min(1.0, -math.log10(max(worst, 1e-12)) / 6)
        named: dict[str, float | str] = {**evidence, "initializer": configuration.initializer}
        small = configuration.initializer in ("random_uniform", "random_normal")
        yield Cause(code="bad-initializer", score=(0.6 if small else 0.4) + 0.3 * depth, evidence=named)
        yield Cause(
            code="vanishing-gradient", score=0.5 + 0.3 * depth, layer=configuration.layer_names[0], evidence=evidence
        )
    if max(forward, backward) > _BLOWN:
        evidence = {"last_to_first_activation": forward, "first_to_last_gradient": backward}
        yield Cause(code="exploding-gradient", score=0.6, evidence=evidence)
        yield Cause(code="bad-initializer", score=0.5, evidence={"initializer": configuration.initializer})


def _step_size(configuration: Configuration, checks: Sequence[Check], layers: FloatArray) -> Iterator[Cause]:
    ratios = _signal(layers, "update_ratio")[1:]
    measured = ratios[np.isfinite(ratios).all(1)] if len(ratios) else ratios
    if not len(measured):
        return
    typical, most = float(np.median(measured.max(1))), float(measured.max())
    rate = configuration.learning_rate
    if 0 < typical < 100 * _STILL:
        score = 0.75 if typical < 10 * _STILL else 0.55
        yield Cause(code="lr-too-low", score=score, evidence={"learning_rate": rate, "update_ratio": typical})
    if most > _JUMPING or _wild(checks):
        score = 0.7 if most > _JUMPING else 0.5
        yield Cause(code="lr-too-high", score=score, evidence={"learning_rate": rate, "update_ratio": most})


def _wild(checks: Sequence[Check]) -> bool:
    """The training loss was once far above where it began: the weights were thrown out."""
    losses = [check.train_loss for check in checks if math.isfinite(check.train_loss)]
    return len(losses) > 1 and max(losses) > 2 * max(losses[0], 1e-9)


def _pulled_to_zero(configuration: Configuration, layers: FloatArray) -> Iterator[Cause]:
    decay = configuration.weight_decay if OPTIMIZERS[configuration.optimizer].takes_weight_decay else 0.0
    if decay == 0 or len(layers) < 2:
        return
    weights = _signal(layers, "weight_scale")
    left = weights[-1] / np.maximum(weights[0], 1e-12)
    shrunk = float(np.max(left[np.isfinite(left)], initial=-math.inf))
    if 0 <= shrunk < _SHRUNK:  # weights that are not finite tell nothing
        evidence = {"weight_decay": decay, "weights_left": shrunk}
        yield Cause(code="too-strong-l2", score=0.8, evidence=evidence)


def _by_configuration(configuration: Configuration, checks: Sequence[Check], imbalance: float) -> Iterator[Cause]:
    if configuration.dropout >= _MUCH_DROPOUT:
        evidence = {"dropout": configuration.dropout}
        yield Cause(code="too-much-dropout", score=0.2 + 0.3 * (configuration.dropout - 0.5) / 0.5, evidence=evidence)
    if imbalance >= _RARE and not _corrects_classes(configuration) and checks and checks[-1].top_share > 0.99:
        yield Cause(code="majority-class", score=0.45, evidence={"imbalance": imbalance})
    cold = checks and checks[-1].warmth < DEFAULT_LIMITS.warm
    if configuration.normalized and cold:
        yield Cause(code="batchnorm-momentum", score=0.5, evidence={"warmth": checks[-1].warmth})
    backbone = BACKBONES.get(configuration.backbone)  # None for a network from scratch
    if backbone is not None and backbone.batchnorm and configuration.statistics == "kept":
        yield Cause(
            code="frozen-backbone-batchnorm",
            score=0.4,
            layer=configuration.backbone,
            evidence={"statistics": configuration.statistics},
        )


def _corrects_classes(configuration: Configuration) -> bool:
    """Whether weights, oversampling or the loss make rare classes count for more."""
    by_share = {configuration.class_weighting, configuration.oversampling} != {"none"}
    return by_share or LOSSES[configuration.loss].is_logit_adjusted


def _largest_update(checks: Sequence[Check], layers: FloatArray) -> float:
    ratios = _signal(layers, "update_ratio")[1:]
    finite = ratios[np.isfinite(ratios)]
    return float(finite.max()) if finite.size else max((check.update_ratio for check in checks), default=math.nan)


def _ratio(above: float, below: float) -> float:
    """`above / below`; 1, which suspects nothing, where it is undefined."""
    if not (np.isfinite(above) and np.isfinite(below)) or below <= 0:
        return 1.0
    return float(above) / float(below)


def _plain(value: float) -> float:
    return float(value) if math.isfinite(value) else -1.0
