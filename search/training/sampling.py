"""Selection of the images of an epoch, class weights, and the class prior that results from both. Pure NumPy.

Class imbalance is corrected once: class weights are computed from the class shares after oversampling, and the
effective prior is the product of shares and weights. A logit-adjusted loss uses neither oversampling nor weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from spaces.config import Configuration
from spaces.losses import LOSSES, Modulation

_HALVINGS: Final = 60
_EFFECTIVE_BETA: Final = 0.999  # Cui et al., CVPR 2019, "Class-balanced loss": (1 - beta**n) / (1 - beta)


@dataclass(frozen=True, slots=True)
class Balance:
    """Class shares and weights of a training fold.

    Attributes:
        drawn: `(K,)` float64, share of each class among the images of an epoch; sums to 1.
        weights: `(K,)` float64, factor of the loss of each class; its mean over the images of an epoch is 1.
        prior: `(K,)` float64, probabilities of the constant predictor with the least training loss; sums to 1.
        margin: `(K,)` float64, added to the logits in the training loss only; 0 unless the loss is logit-adjusted.
    """

    drawn: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]
    margin: npt.NDArray[np.float64]

    @property
    def entropy(self) -> float:
        """Entropy of the effective prior in nats."""
        return cross_entropy(self.prior, self.prior)


def balance(
    counts: npt.ArrayLike, oversampling: str = "none", class_weighting: str = "none", loss: str = "cross_entropy"
) -> Balance:
    """Compute class shares, class weights and effective prior from class counts.

    A logit-adjusted loss trains logits for equally frequent classes; it ignores oversampling and weighting.

    Args:
        counts: `(K,)` number of training images of each class, at least 1.
        oversampling: one of `spaces.config.OVERSAMPLINGS`.
        class_weighting: one of `spaces.config.CLASS_WEIGHTINGS`.
        loss: one of `spaces.losses.LOSSES`.

    Raises:
        KeyError: one of the names is unknown.
    """
    n = np.asarray(counts, dtype=np.float64)
    even = np.full_like(n, 1 / len(n))
    definition = LOSSES[loss]
    if definition.is_logit_adjusted:
        shares = n / n.sum()
        return Balance(shares, np.ones_like(n), even, np.log(shares))
    drawn = {"none": n, "sqrt": np.sqrt(n), "balanced": np.ones_like(n)}[oversampling]
    drawn = drawn / drawn.sum()
    images = drawn * n.sum()  # of each class in an epoch
    weights = {
        "none": np.ones_like(n),
        "sqrt": 1 / np.sqrt(images),
        "balanced": 1 / images,
        "effective_number": (1 - _EFFECTIVE_BETA) / (1 - _EFFECTIVE_BETA**images),
    }[class_weighting]
    weights = weights / (drawn * weights).sum()
    if oversampling == "balanced":
        return Balance(even, np.ones_like(n), even, np.zeros_like(n))
    prior = drawn * weights  # the constant predictor with the least cross-entropy
    if definition.modulation is not None:
        prior = np.array(_best_constant(tuple(prior.tolist()), definition.modulation))
    return Balance(drawn, weights, prior, np.zeros_like(n))


@lru_cache(maxsize=256)  # all folds of many trials ask for the same few, and one takes as long as some epochs of a head
def _best_constant(class_shares: tuple[float, ...], loss: Modulation) -> tuple[float, ...]:
    """The probabilities of the constant predictor with the least mean loss f(p) on these class shares `(K,)`.

    The loss is convex, so the minimum of sum(share x f(p)) over p that sum to 1 has the same share x f'(p) for each
    class; both that number and each p are found by bisection.
    """
    shares = np.array(class_shares)

    def slope(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(loss.slope(p, np.log(p)))

    def predicted(level: float) -> npt.NDArray[np.float64]:
        low, high = np.full_like(shares, 1e-12), np.ones_like(shares)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = shares * slope(middle) < level
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.asarray(low)

    least, most = float((shares * slope(np.full_like(shares, 1e-12))).min()), 0.0
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        least, most = (middle, most) if predicted(middle).sum() < 1 else (least, middle)
    constant = predicted(least)
    return tuple((constant / constant.sum()).tolist())


def balance_of(counts: npt.ArrayLike, configuration: Configuration) -> Balance:
    """Return `balance` of class counts `(K,)` with a configuration's oversampling, class weighting and loss."""
    return balance(counts, configuration.oversampling, configuration.class_weighting, configuration.loss)


def cross_entropy(shares: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]) -> float:
    """Return the cross-entropy in nats of predicting `prior` `(K,)` for labels with class shares `shares` `(K,)`."""
    occurring = shares > 0
    return float(-(shares[occurring] * np.log(prior[occurring])).sum())


def epoch_rows(
    rows: IntArray, labels: IntArray, drawn: npt.NDArray[np.float64], batch: int, generator: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Draw the images of one epoch, shuffled and divided into full batches.

    Class k gets a share of `drawn[k]` of the epoch. Its images are used equally often, except for some drawn at random
    that are used once more.

    Args:
        rows: `(n,)` row numbers of the training images.
        labels: `(n,)` class of each of these rows, 0..K-1.
        drawn: `(K,)` share of each class, sums to 1.
        batch: images per batch, 1 to n.
        generator: random generator of the epoch.

    Returns:
        `(n // batch, batch)` int32 row numbers; the rest of the n images is left out.
    """
    n = len(rows)
    steps = n // batch
    parts = [
        _draw(rows[labels == k], count, generator)
        for k, count in enumerate(_apportion(drawn * n, n, generator))
        if count
    ]
    return generator.permutation(np.concatenate(parts))[: steps * batch].reshape(steps, batch).astype(np.int32)


def _apportion(quotas: npt.NDArray[np.float64], total: int, generator: np.random.Generator) -> IntArray:
    counts = np.floor(quotas + 1e-9).astype(np.int64)
    missing = total - int(counts.sum())
    if missing:
        remainder = np.clip(quotas - counts, 1e-12, None)
        counts[generator.choice(len(quotas), missing, replace=False, p=remainder / remainder.sum())] += 1
    return counts


def _draw(rows: IntArray, count: int, generator: np.random.Generator) -> IntArray:
    whole, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, whole), generator.choice(rows, rest, replace=False)])
