"""Baselines: scores of simple methods on the same folds, which a network has to beat to be worth its training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from search import seeds
from search.arrays import IntArray
from search.metric_definitions import METRICS
from search.selection.metrics import chance, defined, prior
from search.selection.scores import OutOfFold, score_matrix

SIDE: Final = 16  # pixels a side of the images that the simple methods see
NEIGHBOURS: Final = (1, 3, 5)
MAX_IMAGES: Final = 5000
COMPONENTS: Final = 50  # principal components that the logistic regression sees: there are more pixels than images
STRENGTH: Final = 0.01  # its inverse regularisation

_CHUNK: Final = 256  # images shrunk at a time

Features = npt.NDArray[np.float32]


def baselines(
    pixels: npt.NDArray[np.uint8], labels: IntArray, folds: Sequence[tuple[IntArray, IntArray]], metric: str
) -> dict[str, float]:
    """Return the pooled out-of-fold scores of the constant predictor, nearest neighbours and logistic regression.

    Nearest neighbours see the images shrunk to 16 x 16 pixels and standardised by the training images of each fold;
    logistic regression sees their first 50 principal components. The score of nearest neighbours is the best of 1, 3
    and 5 neighbours: a baseline should rather be too high than too low. With more than 5,000 images a fixed random
    sample of 5,000 is used.

    Args:
        pixels: `(n, h, w, c)` uint8, all images.
        labels: `(n,)` int, 0..K-1.
        folds: training rows and validation rows of each fold.
        metric: a key of `search.metric_definitions.METRICS`.

    Returns:
        The metric's value under the keys `constant`, `knn` and `logistic`.
    """
    from sklearn.preprocessing import StandardScaler  # here and below: a second while TensorFlow starts

    classes = int(labels.max()) + 1
    used = np.ones(len(labels), np.bool_)
    if len(labels) > MAX_IMAGES:
        used[:] = False
        used[seeds.generator(0, "baselines").choice(len(labels), MAX_IMAGES, replace=False)] = True
    features = np.zeros((len(labels), SIDE * SIDE * pixels.shape[3]), np.float32)
    features[used] = shrink(pixels, np.flatnonzero(used))
    shares = prior(labels, classes)
    predicted = {name: np.tile(shares, (len(labels), 1)) for name in (*map(_neighbour_name, NEIGHBOURS), "logistic")}
    fold_of, rebalanced = np.zeros(len(labels), np.int64), METRICS[metric].counts_rare
    for number, (training, validation) in enumerate(folds):
        training, validation = training[used[training]], validation[used[validation]]
        fold_of[validation] = number
        if len(validation) == 0 or len(np.unique(labels[training])) < 2:
            continue
        scaler = StandardScaler().fit(features[training])
        training_features, validation_features = (
            scaler.transform(features[training]),
            scaler.transform(features[validation]),
        )
        # Many small products of matrices: threads would wait for each other, up to fifty times as long.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # blank images, not fully converged: good enough for a bar
            for name, probabilities in _nearest(
                training_features, labels[training], validation_features, shares
            ).items():
                predicted[name][validation] = probabilities
            predicted["logistic"][validation] = _logistic(
                training_features, labels[training], validation_features, classes, rebalanced
            )
    scores = {name: _pooled(metric, labels, probabilities, fold_of, used) for name, probabilities in predicted.items()}
    return {
        "constant": chance(metric, labels),
        "knn": max(scores[_neighbour_name(count)] for count in NEIGHBOURS),
        "logistic": scores["logistic"],
    }


def shrink(pixels: npt.NDArray[np.uint8], rows: IntArray) -> Features:
    """Shrink some images to 16 x 16 pixels by area means; smaller images are enlarged in blocks.

    Args:
        pixels: `(n, h, w, c)` uint8, all images.
        rows: row numbers of the images to shrink.

    Returns:
        `(len(rows), 16 * 16 * c)` float32, 0..255, each image flattened.
    """
    down, across = (_area_means(side) for side in pixels.shape[1:3])
    parts = [
        np.einsum("ih,nhwc,jw->nijc", down, pixels[part].astype(np.float32), across, optimize=True)
        for part in np.array_split(rows, -(-len(rows) // _CHUNK) or 1)
    ]
    return np.concatenate(parts).reshape(len(rows), -1)


def _area_means(side: int) -> Features:
    """Share of each of `side` pixels in each of 16 equal stretches `(16, side)`; rows add up to 1."""
    edges = np.linspace(0, side, SIDE + 1)
    pixel = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    means: Features = (np.clip(overlap, 0, None) * SIDE / side).astype(np.float32)
    return means


def _neighbour_name(count: int) -> str:
    return f"knn {count}"


def _nearest(
    training_features: Features, labels: IntArray, validation_features: Features, shares: Any
) -> Mapping[str, Any]:
    """Class shares among the nearest images, and one vote by the prior: it breaks ties, and no class is ruled out."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(n_neighbors=min(max(NEIGHBOURS), len(training_features)), algorithm="brute").fit(
        training_features, labels
    )
    votes = np.eye(len(shares))[labels[model.kneighbors(validation_features, return_distance=False)]]
    return {_neighbour_name(k): (votes[:, :k].sum(axis=1) + shares) / (min(k, votes.shape[1]) + 1) for k in NEIGHBOURS}


def _logistic(
    training_features: Features, labels: IntArray, validation_features: Features, classes: int, rebalanced: bool
) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    weights = "balanced" if rebalanced else None
    components = PCA(min(COMPONENTS, *training_features.shape), svd_solver="covariance_eigh").fit(training_features)
    model = LogisticRegression(C=STRENGTH, class_weight=weights, solver="newton-cholesky")
    model.fit(components.transform(training_features), labels)
    probabilities = np.zeros((len(validation_features), classes))
    probabilities[:, model.classes_] = model.predict_proba(components.transform(validation_features))
    return probabilities


def _pooled(metric: str, labels: IntArray, probabilities: Any, fold_of: IntArray, used: npt.NDArray[np.bool_]) -> float:
    predictions = OutOfFold(probabilities=probabilities, folds=fold_of)
    value = float(score_matrix(metric, labels, [predictions], used[None].astype(np.float64))[0, 0])
    return defined(metric, value)
