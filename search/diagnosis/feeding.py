"""Input of the user's network: pixels after the user's pipeline, labels in the form of the loss, and the split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, train_test_split

from search import seeds
from search.arrays import IntArray
from search.diagnosis.evidence import DataSample
from search.diagnosis.fit_rules import HELD_OUT
from search.diagnosis.loading import Case, user_code_error
from search.errors import UserCodeError
from search.selection.baselines import baselines

Floats = npt.NDArray[np.float32]

FEW: Final = 4  # images of a class below which none are held out
_FOLDS: Final = 4
_ALIGNED: Final = 128  # images that `misaligned` passes through the user's pipeline
_SAME: Final = 0.95  # correlation of an image with itself after a mild change


@dataclass(frozen=True, slots=True)
class Split:
    """Images that a fit is trained on, and images that it is scored on; the same if there are too few to hold out."""

    training: IntArray  # (m,) row numbers
    held_out: IntArray  # (v,) row numbers

    @property
    def on_training(self) -> bool:
        """Whether a fit is scored on its training images."""
        return bool(np.array_equal(self.training, self.held_out))


def pixels(case: Case, images: npt.NDArray[np.uint8]) -> Floats:
    """Convert images to float32 and apply the user's PREPROCESS, if there is one.

    Args:
        case: the user's network and its pipeline.
        images: `(n, h, w, c)` uint8.

    Returns:
        `(n, h, w, c)` float32; PREPROCESS may change h, w and c.

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
            f"it must return an array of numbers of shape ({len(raw)}, height, width, channels)."
        )
    return made.astype(np.float32)


def misaligned(case: Case, images: npt.NDArray[np.uint8], labels: IntArray, classes: int) -> float:
    """Return the share of images, 0..1, that leave PREPROCESS and AUGMENT with the label of another image.

    An output image counts if its correlation with an input image is above 0.95 but their labels differ. At most 128
    images are tried. 0 if there is no pipeline, or if it changes the shape of the images.

    Args:
        case: the user's network and its pipeline.
        images: `(n, h, w, c)` uint8.
        labels: `(n,)` 0..K-1.
        classes: K.

    Raises:
        UserCodeError: PREPROCESS or AUGMENT raises, or returns arrays that don't match.
    """
    if case.preprocess is None and case.augment is None:
        return 0.0
    rows = seeds.generator(0, "alignment").permutation(len(labels))[:_ALIGNED]
    before, out, labels_after = images[rows].astype(np.float32), pixels(case, images[rows]), labels[rows]
    if case.augment is not None:
        try:
            made, encoded = case.augment(out, encode(labels_after, case.labels, classes))
            out, encoded = np.asarray(made, np.float32), np.asarray(encoded)
        except Exception as error:
            raise user_code_error(error, f"{case.model}: AUGMENT of images {out.shape} float32") from error
        if len(out) != len(encoded):
            raise UserCodeError(
                f"{case.model}: AUGMENT returned {len(out)} images with {len(encoded)} labels; "
                "it must return one label per image."
            )
        labels_after = encoded.argmax(axis=1) if encoded.ndim == 2 and encoded.shape[1] > 1 else encoded.reshape(-1)
    if out.shape[1:] != before.shape[1:]:
        return 0.0
    likeness = _standardized(out) @ _standardized(before).T
    nearest = likeness.argmax(axis=1)
    same = likeness.max(axis=1) > _SAME
    return float((same & (labels[rows][nearest] != labels_after)).mean())


def _standardized(images: Floats) -> Floats:
    flat = np.nan_to_num(images.reshape(len(images), -1))
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths: Floats = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9)
    return lengths


def encode(labels: IntArray, form: str, classes: int) -> npt.NDArray[Any]:
    """Encode labels in the form that the loss expects.

    Args:
        labels: `(n,)` 0..K-1.
        form: "int", "onehot" or "binary".
        classes: K.

    Returns:
        `(n,)` int64 ("int"), `(n, K)` float32 ("onehot"), or `(n,)` float32 of 0 and 1 ("binary").
    """
    if form == "onehot":
        return np.eye(classes, dtype=np.float32)[labels]
    return labels.astype(np.float32) if form == "binary" else labels.astype(np.int64)


def first_copies(images: npt.NDArray[np.uint8]) -> IntArray:
    """Return for each image `(n, h, w, c)` the row number of the first image with the same pixels: `(n,)`."""
    first: dict[bytes, int] = {}
    return np.array(
        [
            first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), i)
            for i, image in enumerate(images)
        ]
    )


def split(labels: IntArray, same: IntArray, seed: int) -> Split:
    """Hold out a quarter of each class; images with the same pixels stay together.

    If a class has fewer than four different images, all images are in both parts.

    Args:
        labels: `(n,)` 0..K-1.
        same: `(n,)` result of `first_copies`.
        seed: root of the seed of the split.
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
    case: Case,
    images: npt.NDArray[np.uint8],
    fed: Floats,
    labels: IntArray,
    classes: Sequence[str],
    parts: Split,
    same: IntArray,
) -> DataSample:
    """Describe the images and labels that the network gets, and the settings of its training.

    Args:
        case: the user's network and the settings of its training.
        images: `(n, h, w, c)` uint8.
        fed: `(n, h, w, c)` float32, result of `pixels`.
        labels: `(n,)` 0..K-1.
        classes: names of the K classes.
        parts: training and held-out images.
        same: `(n,)` result of `first_copies`.
    """
    copies = np.bincount(same, minlength=len(same))[same] > 1
    distinct = np.unique(same)  # copies would let nearest neighbours cheat
    finite = fed[np.isfinite(fed)]
    finite = finite if len(finite) else np.zeros(1, np.float32)
    return DataSample(
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
        baseline=1.0 if parts.on_training else simple_methods(images[distinct], labels[distinct]),
    )


def simple_methods(images: npt.NDArray[np.uint8], labels: IntArray) -> float:
    """Return the better balanced accuracy, 0..1, of nearest neighbours and logistic regression by 4-fold validation.

    Args:
        images: `(n, h, w, c)` uint8; reduced in size first.
        labels: `(n,)` 0..K-1, at least 4 images of each class.
    """
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(labels, labels)
    scores = baselines(
        images, labels, [(a.astype(np.int64), b.astype(np.int64)) for a, b in folds], "balanced_accuracy"
    )
    return max(scores["knn"], scores["logistic"])
