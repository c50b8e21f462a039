"""What the user's network is fed: pixels through their own pipeline, labels in their form, and the split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, train_test_split

from search import seeds
from search.diagnosis.fit_rules import HELD_OUT
from search.diagnosis.loading import Case, user_code_error
from search.diagnosis.records import Material
from search.errors import UserCodeError
from search.records import IntArray
from search.selection.baselines import baselines

Floats = npt.NDArray[np.float32]

FEW: Final = 4  # images of a class below which there is nothing to hold out
_FOLDS: Final = 4


@dataclass(frozen=True, slots=True)
class Split:
    """Rows that a fit sees, and rows on which it is judged: the same where there are too few to hold any out."""

    training: IntArray
    held_out: IntArray

    @property
    def on_training(self) -> bool:
        """Whether it is judged on the training images."""
        return bool(np.array_equal(self.training, self.held_out))


def pixels(case: Case, images: npt.NDArray[np.uint8]) -> Floats:
    """The images as float32 through the user's PREPROCESS, if they have one.

    Raises:
        UserCodeError: PREPROCESS fails, or does not return one array of numbers for each image.
    """
    raw = images.astype(np.float32)
    if case.preprocess is None:
        return raw
    try:
        made = np.asarray(case.preprocess(raw))
    except Exception as error:
        raise user_code_error(error, f"{case.model}: PREPROCESS of images {raw.shape} float32") from error
    if made.ndim != 4 or len(made) != len(raw) or not np.issubdtype(made.dtype, np.number):
        raise UserCodeError(
            f"{case.model}: PREPROCESS turned images {raw.shape} into {made.dtype} {made.shape}; "
            f"it gets a batch and must return a batch of {len(raw)} images of numbers."
        )
    return made.astype(np.float32)


def is_nondeterministic(case: Case, images: npt.NDArray[np.uint8]) -> bool:
    """Whether PREPROCESS gives other values for the same images a second time."""
    few = images[:16]
    return case.preprocess is not None and not np.array_equal(pixels(case, few), pixels(case, few), equal_nan=True)


def encode(labels: IntArray, form: str, classes: int) -> npt.NDArray[Any]:
    """Labels as the network's loss wants them: `(n,)` int64, `(n, K)` float32, or `(n,)` float32 of 0 and 1."""
    if form == "onehot":
        return np.eye(classes, dtype=np.float32)[labels]
    return labels.astype(np.float32) if form == "binary" else labels.astype(np.int64)


def contents(images: npt.NDArray[np.uint8]) -> IntArray:
    """`(n,)` number of the first image with the same pixels."""
    first: dict[bytes, int] = {}
    return np.array(
        [
            first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), i)
            for i, image in enumerate(images)
        ]
    )


def split(labels: IntArray, same: IntArray, seed: int) -> Split:
    """A quarter of each class held out; images with the same pixels stay on one side.

    With fewer than four images of a class there is nothing to hold out: both sides are all images.

    Args:
        labels: `(n,)` 0..K-1.
        same: `(n,)` as `contents` gives them.
        seed: of the draw.
    """
    distinct = np.unique(same)
    if np.bincount(labels[distinct]).min() < FEW:
        every = np.arange(len(labels))
        return Split(every, every)
    state = seeds.child(seed, "diagnosis", "split")
    held = train_test_split(distinct, test_size=HELD_OUT, stratify=labels[distinct], random_state=state)[1]
    out = np.isin(same, held)
    return Split(np.flatnonzero(~out), np.flatnonzero(out))


def material(
    case: Case, images: npt.NDArray[np.uint8], fed: Floats, labels: IntArray, classes: Sequence[str], parts: Split
) -> Material:
    """Describe what the network is given."""
    same = contents(images)
    copies = np.bincount(same, minlength=len(same))[same] > 1
    finite = fed[np.isfinite(fed)]
    finite = finite if len(finite) else np.zeros(1, np.float32)
    return Material(
        images=len(labels),
        classes={name: int((labels == i).sum()) for i, name in enumerate(classes)},
        labels=case.labels,
        shape=(int(fed.shape[1]), int(fed.shape[2]), int(fed.shape[3])),
        low=float(finite.min()),
        high=float(finite.max()),
        mean=float(finite.mean(dtype=np.float64)),
        deviation=float(finite.std(dtype=np.float64)),
        batch_size=case.batch_size,
        epochs=case.epochs,
        class_weight=case.class_weight,
        preprocess=case.preprocess is not None,
        augment=case.augment is not None,
        duplicates=int(copies.sum()),
        conflicting=int((copies & (labels != labels[same])).sum()),
        baseline=1.0 if parts.on_training else simple_methods(images, labels),
    )


def simple_methods(images: npt.NDArray[np.uint8], labels: IntArray) -> float:
    """Best balanced accuracy that nearest neighbours or logistic regression on small pixels reach, by four folds."""
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(labels, labels)
    scores = baselines(
        images, labels, [(a.astype(np.int64), b.astype(np.int64)) for a, b in folds], "balanced_accuracy"
    )
    return max(scores["knn"], scores["logistic"])
