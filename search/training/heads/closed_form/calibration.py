"""Calibration: logits whose softmax can be believed, made of the scores of a linear model. Pure NumPy.

A factor for all classes and a bias for each are fitted to the scores that training images get from models made without
them: temperature scaling (Guo et al. 2017) and Platt's smoothed labels (1999), which keep the factor finite where the
left-out scores separate the classes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from search.training.heads.closed_form.linear_head import DoubleArray, LinearHead
from search.training.heads.closed_form.training_part import TrainingPart
from search.training.measures import log_softmax

_STEPS: Final = 50  # of Newton's method: mostly five
_HALVINGS: Final = 30
_ACCURATE: Final = 1e-14  # decrease of the mean cross-entropy that a further step promises
_DAMPING: Final = 1e-10  # of the Hessian, which is singular: all logits of an image may be shifted


def calibrated_heads(
    part: TrainingPart, left_out: DoubleArray, coefficients: DoubleArray, intercepts: DoubleArray
) -> list[LinearHead]:
    """Scale and shift the scores of S models so that the left-out scores have the least weighted cross-entropy.

    Left-out scores that are worse than chance give heads that always predict the class shares.

    Args:
        part: the training images.
        left_out: `(S, n, K)`, scores of each training image by the models fitted without its group.
        coefficients: `(S, r, K)`, of the models of the principal coordinates of all training images.
        intercepts: `(S, K)`, of the same models.
    """
    shares = part.class_weights() / part.weights.sum()
    smooth = 1 / (part.weights.sum() + 1)  # as if one more image were known by no more than the class shares
    targets = (1 - smooth) * part.one_hot() + smooth * shares
    factors, biases = np.empty((len(left_out), 1)), np.empty_like(intercepts)
    factor, bias = 0.0, np.log(shares)
    for place, scores in enumerate(left_out):
        centred = scores - scores.mean(1, keepdims=True)
        middle = centred.mean(0)
        centred -= middle
        spread = float(np.sqrt(np.mean(centred**2))) or 1.0
        factor, bias = _fit_logits(centred / spread, targets, part.weights, factor, bias)
        if factor < 0:  # of all factors that don't turn the ranking of the classes upside down 0 is the best
            factor, bias = 0.0, np.log(shares)
        factors[place], biases[place] = factor / spread, bias - factor / spread * middle
    return part.coordinates.heads(factors[:, :, None] * coefficients, factors * intercepts + biases)


def _fit_logits(
    scores: DoubleArray, targets: DoubleArray, weights: DoubleArray, factor: float, bias: DoubleArray
) -> tuple[float, DoubleArray]:
    """Factor and bias `(K,)` with the least cross-entropy of softmax(factor * scores + bias) from the targets.

    Newton's method on a convex function of K + 1 numbers, from the given ones.
    """
    share = (weights / weights.sum())[:, None]
    theta = np.append(bias, factor)
    log_p = log_softmax(factor * scores + bias)
    value = -float(np.vdot(share * targets, log_p))
    for _ in range(_STEPS):
        p = np.exp(log_p)
        slope = share * (p - targets)
        gradient = np.append(slope.sum(0), np.vdot(slope, scores))
        deviations = scores - np.add.reduce(p * scores, axis=1, keepdims=True)
        weighted = share * p
        hessian = np.empty((len(theta), len(theta)))
        hessian[:-1, :-1] = np.diag(weighted.sum(0)) - weighted.T @ p
        hessian[-1, :-1] = hessian[:-1, -1] = np.add.reduce(weighted * deviations, axis=0)
        hessian[-1, -1] = np.vdot(weighted, deviations**2)
        hessian[np.diag_indices_from(hessian)] += _DAMPING
        step = np.linalg.solve(hessian, -gradient)
        if -np.dot(gradient, step) <= _ACCURATE:
            break
        for _ in range(_HALVINGS):
            trial_log_p = log_softmax((theta[-1] + step[-1]) * scores + theta[:-1] + step[:-1])
            trial_value = -float(np.vdot(share * targets, trial_log_p))
            if trial_value < value:
                break
            step /= 2
        else:  # no decrease that could be told from rounding
            break
        theta, log_p, value = theta + step, trial_log_p, trial_value
    return float(theta[-1]), theta[:-1]
