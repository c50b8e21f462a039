"""Linear classifiers on frozen features: scikit-learn's answers, a strength by the training images alone, export."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from search.data import disk_cache
from search.data.folds import make_folds
from search.records import Verdict
from search.selection.metrics import MetricScorer
from search.settings import TrainingProtocol
from search.training import backbones, embeddings
from search.training.embeddings import FrozenBackbone
from search.training.export import save_fitted
from search.training.heads.blas_threads import one_thread
from search.training.heads.closed_form.registry import HEADS
from search.training.heads.linear_classifier import LEAST_SHARE, STRENGTH, LinearClassifier, fit_classifier
from search.training.job import FitJob
from search.training.measures import log_softmax
from search.training.sampling import balance_of
from spaces.backbones import MIDDLE
from spaces.config import Configuration
from spaces.image_format import ImageFormat
from tests.factories import configuration

LITE0 = "efficientnet_lite0"
FEATURES = 1280
KINDS = sorted(HEADS)
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    with one_thread():
        yield


def small_core(known: Any, side: int | None = None) -> Any:
    """Three convolutions with the widths and names of a backbone, which takes ten times as long to build."""
    images = x = keras.Input((None, None, 3))
    for name, filters in (("stem", 8), (known.middle, known.middle_features), (known.last_block, known.features)):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu", name=name)(x)
    return keras.Model(images, x)


class Stored:
    """A backbone of which nothing but the features of the study's images is there."""

    weights: tuple[Any, ...] = ()

    def __init__(self, features: np.ndarray) -> None:
        self._features = features

    def views(self, configuration: Configuration) -> list[np.ndarray]:
        return [self._features]


def data(images: int = 90, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features >= 0 `(images, 1280)` float32, and labels, the first class the rarest."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(classes, images, p=np.arange(1, classes + 1) / sum(range(1, classes + 1))))
    hidden = rng.normal(size=(images, 10)) @ rng.normal(size=(10, FEATURES)) / 2
    x = hidden + rng.normal(size=hidden.shape) + 0.35 * rng.normal(size=(classes, FEATURES))[labels]
    return np.maximum(x + 0.5, 0).astype(np.float32), labels


def solved(kind: str = "logistic", **changes: Any) -> Configuration:
    return configuration(**{"backbone": LITE0, "head": "average", "classifier": kind, **changes})


def classifier(
    x: np.ndarray, labels: np.ndarray, kind: str = "logistic", groups: np.ndarray | None = None, **changes: Any
) -> LinearClassifier:
    protocol = TrainingProtocol(epochs=4, images=ImageFormat(image_size=8, channels=3), classes=int(labels.max()) + 1)
    return LinearClassifier(solved(kind, **changes), protocol, cast(Any, Stored(x)), labels, groups)


def fitted(x: np.ndarray, labels: np.ndarray, rows: np.ndarray, kind: str = "logistic", **changes: Any) -> Any:
    """The chosen strength, and log-probabilities of all images."""
    one = classifier(x, labels, kind, **changes)
    shares = balance_of(np.bincount(labels[rows], minlength=int(labels.max()) + 1), one.configuration)
    strength = one.fit(rows, 5, shares)
    return strength, log_softmax(one.logits(np.arange(len(x))).astype(np.float64))


def reference(x: np.ndarray, labels: np.ndarray, rows: np.ndarray, strength: float, weights: np.ndarray) -> Pipeline:
    classes = len(np.unique(labels))
    deviations = x[rows].astype(np.float64).std(0)
    assert deviations.min() > LEAST_SHARE * np.median(deviations), "the features are standardized as scikit-learn does"
    model = LogisticRegression(C=(2 if classes == 2 else 1) / strength, tol=1e-8, max_iter=3000)
    return make_pipeline(StandardScaler(), model).fit(
        x[rows].astype(np.float64), labels[rows], logisticregression__sample_weight=weights[rows]
    )


@pytest.mark.parametrize(("classes", "weighting"), [(2, "none"), (3, "none"), (3, "balanced")])
def test_it_is_scikit_learns_pipeline_with_the_strength_of_its_cross_validation(classes: int, weighting: str) -> None:
    x, labels = data(60, classes)
    rows = np.flatnonzero(np.arange(60) % 4 > 0)
    weights = np.ones(60)
    if weighting == "balanced":
        weights = (len(rows) / classes / np.bincount(labels[rows]))[labels]
    losses = []
    for strength in HEADS["logistic"].strengths:
        loss = 0.0
        for fold in make_folds(labels[rows], folds=5, seed=5):
            train, val = rows[fold.train], rows[fold.val]
            p = reference(x, labels, train, strength, weights).predict_proba(x[val].astype(np.float64))
            loss -= float((np.log(p[np.arange(len(val)), labels[val]]) * weights[val]).sum())
        losses.append(loss)
    strength, log_p = fitted(x, labels, rows, class_weighting=weighting)
    assert strength == HEADS["logistic"].strengths[int(np.argmin(losses))]
    assert 0 < int(np.argmin(losses)) < len(losses) - 1, "neither end of the grid"
    expected = reference(x, labels, rows, strength, weights).predict_proba(x.astype(np.float64))
    np.testing.assert_allclose(np.exp(log_p), expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_images_outside_the_training_part_decide_nothing(kind: str) -> None:
    x, labels = data()
    rows = np.flatnonzero(np.arange(len(x)) % 3 > 0)
    outside = np.setdiff1d(np.arange(len(x)), rows)
    strength, log_p = fitted(x, labels, rows, kind)
    other, other_labels = x.copy(), labels.copy()
    other[outside] = np.random.default_rng(1).uniform(0, 1000, (len(outside), FEATURES))
    other_labels[outside] = 2 - labels[outside]
    other_strength, other_log_p = fitted(other, other_labels, rows, kind)
    assert other_strength == strength
    np.testing.assert_array_equal(other_log_p[rows], log_p[rows])


@pytest.mark.parametrize(
    ("classes", "each", "folds"),
    [(3, 2, 5), (3, 15, 5), (2, 15, 4), (3, 30, 5)],
    ids=["many groups", "two groups a class", "fewer groups than folds", "a group fills each class"],
)
def test_groups_stay_together_where_that_is_possible(classes: int, each: int, folds: int) -> None:
    labels = np.repeat(np.arange(classes), 30)
    rows, groups = np.arange(30 * classes), np.arange(30 * classes) // each
    inner = classifier(np.zeros((len(rows), FEATURES), np.float32), labels, groups=groups)._inner_folds(rows, 3)
    assert len(inner) == folds
    apart = all(len(np.intersect1d(groups[train], groups[val])) == 0 for train, val in inner)
    assert apart == (each < 30)
    np.testing.assert_array_equal(np.sort(np.concatenate([val for _, val in inner])), rows)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_in_a_group_do_not_make_the_penalty_weak(kind: str) -> None:
    """Labels say nothing of the features, but each picture is there five times: only groups tell that."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], 12), 5)
    groups = np.repeat(np.arange(24), 5)
    x = (np.repeat(rng.normal(size=(24, FEATURES)), 5, axis=0) + 0.05 * rng.normal(size=(120, FEATURES))).astype("f4")
    rows = np.arange(120)
    losses = []
    for known in (groups, None):
        one = classifier(x, labels, kind, groups=known)
        one.fit(rows, 5, balance_of(np.bincount(labels), one.configuration))
        fresh = rng.normal(size=(400, FEATURES)).astype("f4")
        log_p = log_softmax(one._logits(fresh).astype(np.float64))
        losses.append(-float(log_p.mean()))
    assert losses[0] < losses[1]
    assert losses[0] < 1.1 * np.log(2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_class_of_one_image_takes_a_middle_strength(kind: str, grouped: bool) -> None:
    x, labels = data()
    rows = np.append(np.flatnonzero(labels == 0)[:1], np.flatnonzero(labels > 0))
    strength, log_p = fitted(x, labels, rows, kind, groups=np.zeros(len(x), np.int64) if grouped else None)
    strengths = HEADS[kind].strengths
    assert strength == strengths[len(strengths) // 2]
    assert np.isfinite(log_p).all()


def job(configuration_: Configuration, train: np.ndarray, val: np.ndarray, classes: int) -> FitJob:
    protocol = TrainingProtocol(epochs=4, images=ImageFormat(image_size=8, channels=3), classes=classes)
    return cast(
        FitJob,
        type("Job", (), {"configuration": configuration_, "train": train, "val": val, "seed": 5, "protocol": protocol}),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_scored_on_its_validation_images(kind: str) -> None:
    x, labels = data()
    train, val = np.flatnonzero(np.arange(90) % 3 > 0), np.arange(0, 90, 3)
    one = classifier(x, labels, kind)
    outcome = fit_classifier(one, job(one.configuration, train, val, 3), labels, MetricScorer("balanced_accuracy"))
    strength, log_p = fitted(x, labels, train, kind)
    assert outcome.verdict is Verdict.LEARNED
    assert (outcome.start[STRENGTH], outcome.epochs, outcome.checks) == (strength, 0, ())
    assert outcome.probabilities is not None
    np.testing.assert_allclose(outcome.probabilities, np.exp(log_p[val]), atol=1e-6)
    assert outcome.loss == pytest.approx(-float(log_p[val, labels[val]].mean()))
    assert outcome.skill is not None
    assert 0.1 < outcome.skill < 1
    whole = fit_classifier(one, job(one.configuration, train, val[:0], 3), labels, MetricScorer("accuracy"))
    assert (whole.verdict, whole.score, whole.loss) == (Verdict.LEARNED, None, None)


AGAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.keras_tests.test_linear_classifier import digests
print(digests())
"""


def digests() -> list[str]:
    """Of strength and log-probabilities of each kind, with groups."""
    x, labels = data(40)
    found = [fitted(x, labels, np.arange(0, 40), kind, groups=np.arange(40) // 2) for kind in KINDS]
    return [hashlib.sha256(np.append(log_p, strength).tobytes()).hexdigest() for strength, log_p in found]


def test_the_same_again_here_and_in_another_process() -> None:
    first = digests()
    assert digests() == first
    command = [sys.executable, "-c", AGAIN, str(ROOT)]
    there = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert there.stdout.strip().splitlines()[-1] == str(first)


# What a user without our packages does.
FOREIGN = """
import pathlib, sys
import numpy as np
sys.modules.update(dict.fromkeys(("search", "spaces", "reports", "run_search")))
import keras
folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.glob("*.keras")):
    model = keras.saving.load_model(path)
    images = np.load(folder / f"images{model.input_shape[-1]}.npy").astype("float32")
    np.save(path.with_suffix(".npy"), model.predict(images, verbose=0))
"""


def test_the_model_says_what_the_classifier_says_in_plain_keras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backbones, "_core", small_core)
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 8)
    expected = {}
    for channels in (3, 1):
        images = rng.integers(0, 200, (24, 32, 32, channels), dtype=np.uint8)
        images[labels == 0, 8:24] //= 3
        images[labels == 1, :, ::2] += 50
        np.save(tmp_path / f"images{channels}.npy", images)
        image_format = ImageFormat(image_size=32, channels=channels)
        protocol = TrainingProtocol(epochs=4, images=image_format, classes=3)
        weights = backbones.first_weights(LITE0, channels, None)
        source = tmp_path / f"images{channels}.npy"
        backbone = FrozenBackbone(LITE0, image_format, weights, f"random {channels}", source, tf.constant(images))
        for kind, head in zip(KINDS, (MIDDLE, "average", "max") if channels == 3 else (MIDDLE,), strict=False):
            one = LinearClassifier(solved(kind, head=head), protocol, backbone, labels, None)
            one.fit(np.arange(24), 5, balance_of(np.bincount(labels), one.configuration))
            path = tmp_path / f"{kind}{channels}.keras"
            save_fitted(one, path)
            log_p = log_softmax(one.logits(np.arange(24)).astype(np.float64))
            np.testing.assert_allclose(log_softmax(one.logits_of(images, np.arange(24))), log_p, atol=1e-3)
            expected[path] = np.exp(log_p)
            assert np.exp(log_p).std(0).max() > 0.02, "the images are told apart"
    subprocess.run([sys.executable, "-I", "-c", FOREIGN, str(tmp_path)], check=True, capture_output=True, cwd=tmp_path)
    for path, probabilities in expected.items():
        np.testing.assert_allclose(np.load(path.with_suffix(".npy")), probabilities, atol=1e-5)


def test_embeddings_stay_in_memory_where_the_cache_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backbones, "_core", small_core)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    weights = backbones.first_weights(LITE0, 3, None)
    told: list[str] = []
    monkeypatch.setattr(embeddings._log, "warning", lambda text, *values: told.append(text % values))

    def backbone(on_batch: Any = lambda: None) -> FrozenBackbone:
        image_format = ImageFormat(image_size=32, channels=3)
        return FrozenBackbone(
            LITE0, image_format, weights, "random", tmp_path / "x.npy", tf.constant(images), on_batch=on_batch
        )

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backbone(killed).view(across=False, down=False)
    with monkeypatch.context() as patch:

        def full(*arguments: Any, **options: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "posix_fallocate", full)
        held = backbone().view(across=False, down=False)
    (line,) = told
    assert line.startswith("The embeddings of efficientnet_lite0 are kept in memory only: the image cache")
    assert not list(disk_cache.cache_folder().glob("*.npy")), "half of them would be taken for all"
    np.testing.assert_array_equal(backbone().view(across=False, down=False), held)
    assert len(list(disk_cache.cache_folder().glob("*.npy"))) == len(told) == 1
