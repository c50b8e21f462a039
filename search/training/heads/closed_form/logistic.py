"""Multinomial logistic regression with an L2 penalty, for all strengths of a grid. Pure NumPy.

It minimizes sum_i w_i (-log p_i) + strength / 2 |W|² over the kernel W of the standardized features and the bias, which
is not penalized: scikit-learn's `LogisticRegression(C=1 / strength)`. Two classes have a softmax over two logits
instead of one logit; the same model has C = 2 / strength there.

The solver is Newton's method, whose linear systems are solved by conjugate gradients (truncated Newton: Dembo &
Steihaug 1983; Nocedal & Wright, Numerical Optimization, 2006, 7.1), from the strongest to the weakest penalty, each
starting at the one before. In principal coordinates Z'Z is diagonal. With the same probabilities for all images the
Hessian would be the Kronecker product of Z'Z and a K x K matrix, which is the idea of Böhning's bound (Böhning 1992,
Annals of the Institute of Statistical Mathematics 44). This product, with the mean of these matrices, is the
preconditioner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from search.training.heads.blas_threads import one_thread
from search.training.heads.closed_form.linear_head import DoubleArray, LinearHead
from search.training.heads.closed_form.training_part import TrainingPart
from search.training.measures import log_softmax

# The objective is strongly convex: |gradient| <= TOLERANCE * strength * |W| means that W is wrong by no more than this
# share of its length. Mostly it is far less, as Newton's last step squares the error.
TOLERANCE: Final = 1e-5
_ROUNDING: Final = 1e-13  # of the sum of weighted features: a smaller gradient is noise
_STEPS: Final = 60  # Newton steps for a strength: reached only if classes are separable and the penalty next to nothing
_PRODUCTS: Final = 200  # conjugate gradients in a Newton step
_HALVINGS: Final = 30
_ENOUGH: Final = 1e-4  # share of the predicted decrease that a step must reach (Armijo)


def fit_logistic(part: TrainingPart, strengths: Sequence[float]) -> list[LinearHead]:
    """Fit a logistic regression for each strength.

    Args:
        part: the training images.
        strengths: weight of the penalty, > 0: 1 / C in scikit-learn's words.

    Returns:
        A head for each strength, in their order.

    Raises:
        ValueError: a strength is not positive.
    """
    if not all(0 < strength < math.inf for strength in strengths):
        raise ValueError(f"Strengths of a logistic regression must be positive and finite, got {list(strengths)}.")
    problem = _Logistic(part)
    coefficients = np.zeros((len(problem.squares), part.classes))
    coefficients[-1] = np.log(part.class_weights() / part.weights.sum())
    solutions = np.empty((len(strengths), *coefficients.shape))
    with one_thread():
        for place in sorted(range(len(strengths)), key=lambda place: -strengths[place]):
            coefficients = problem.minimize(coefficients, strengths[place])
            solutions[place] = coefficients
    return part.coordinates.heads(solutions[:, :-1], solutions[:, -1])


class _Logistic:
    """The regression on principal coordinates and, as a last column that is not penalized, a constant 1."""

    def __init__(self, part: TrainingPart) -> None:
        coordinates = part.coordinates
        images = len(coordinates.values)
        self._x = np.hstack([coordinates.values, np.ones((images, 1))])
        self._transposed = np.ascontiguousarray(self._x.T)
        self.squares = np.append(coordinates.squares, images)
        self._rows, self._labels = np.arange(images), part.labels
        self._targets = part.one_hot()
        self._weights = part.weights[:, None]
        self._noise = _ROUNDING * float(part.weights.sum()) * math.sqrt(self.squares.max() / images)

    def minimize(self, start: DoubleArray, strength: float) -> DoubleArray:
        """Return the optimal coefficients `(r + 1, K)` for a strength."""
        penalty = np.full((len(start), 1), strength)
        penalty[-1] = 0.0
        coefficients, logits = start, self._x @ start
        value, p = self._loss(logits)
        value += strength / 2 * float(np.vdot(start[:-1], start[:-1]))
        for _ in range(_STEPS):
            gradient = self._transposed @ (self._weights * (p - self._targets)) + penalty * coefficients
            size = float(np.linalg.norm(gradient))
            accurate = TOLERANCE * strength * float(np.linalg.norm(coefficients[:-1])) + self._noise
            if size <= accurate:
                break
            # Half the tolerance is worth it if it is near, otherwise a tenth of the gradient: the next step squares it.
            step, step_logits = self._newton_step(gradient, p, penalty, max(0.5 * accurate, 0.1 * size))
            slope = float(np.vdot(gradient, step))
            length = 1.0
            for _ in range(_HALVINGS):
                trial = coefficients + length * step
                trial_logits = logits + length * step_logits
                trial_value, trial_p = self._loss(trial_logits)
                trial_value += strength / 2 * float(np.vdot(trial[:-1], trial[:-1]))
                if trial_value <= value + _ENOUGH * length * slope:
                    break
                length /= 2
            else:  # no decrease that could be told from rounding
                break
            coefficients, logits, value, p = trial, trial_logits, trial_value, trial_p
        return coefficients

    def _loss(self, logits: DoubleArray) -> tuple[float, DoubleArray]:
        """Weighted sum of cross-entropies, and probabilities `(n, K)`."""
        log_p = log_softmax(logits)
        return -float(np.dot(self._weights[:, 0], log_p[self._rows, self._labels])), np.exp(log_p)

    def _newton_step(
        self, gradient: DoubleArray, p: DoubleArray, penalty: DoubleArray, accurate: float
    ) -> tuple[DoubleArray, DoubleArray]:
        """Solve `Hessian @ step = -gradient` to a residual of `accurate`; the step, and the logits it adds."""
        weighted = self._weights * p
        mean = (np.diag(weighted.sum(0)) - weighted.T @ p) / len(p)
        spread, axes = np.linalg.eigh(mean)
        curvature = self.squares[:, None] * np.maximum(spread, 0.0) + penalty
        # All logits of an image may be shifted: the first axis, (1, ..., 1), has no curvature and takes no step.
        inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=curvature > 0)
        inverse[-1, 0] = 0.0
        step, step_logits = np.zeros_like(gradient), np.zeros_like(p)
        residual = -gradient
        conditioned = (residual @ axes * inverse) @ axes.T
        direction = conditioned
        product = float(np.vdot(residual, conditioned))
        for _ in range(_PRODUCTS):
            direction_logits = self._x @ direction
            u = weighted * direction_logits
            u -= p * np.add.reduce(u, axis=1, keepdims=True)
            curved = self._transposed @ u + penalty * direction
            bend = float(np.vdot(direction, curved))
            if bend <= 0:  # rounding: all of the gradient that is left is noise
                break
            length = product / bend
            step += length * direction
            step_logits += length * direction_logits
            residual -= length * curved
            if np.linalg.norm(residual) <= accurate:
                break
            conditioned = (residual @ axes * inverse) @ axes.T
            before, product = product, float(np.vdot(residual, conditioned))
            direction = conditioned + (product / before) * direction
        return step, step_logits
