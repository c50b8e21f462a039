"""The four networks of `examples/four_questions`, on their images: what is suspected, and what fits show."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from examples.four_questions import make_images
from search import seeds
from search.diagnosis import diagnosis, feeding
from search.diagnosis.anatomy import dissect
from search.diagnosis.confirm import FixSearchResult
from search.diagnosis.diagnosis import diagnose
from search.diagnosis.evidence import Diagnosis, NetworkState
from search.diagnosis.loading import load_case
from search.diagnosis.probe import probe
from search.diagnosis.suspects import suspects

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns of some of these faults by itself

ROOT = Path(make_images.__file__).parent
FEW = 40  # images of a class


@cache
def pictures(story: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """`(n, side, side, c)` uint8, labels and class names: the training images, at most forty of a class."""
    there = [(name, pixels) for name, pixels in make_images.images(story) if not name.startswith("test/")]
    images, labels, names = [], [], []
    for folder, group in groupby(there, key=lambda pair: pair[0].rpartition("/")[0]):
        for _, pixels in list(group)[:FEW]:
            side = 64 if story == "one_against_all" else pixels.shape[0]
            images.append(np.asarray(Image.fromarray(pixels).resize((side, side))).reshape(side, side, -1))
            labels.append(len(names))
        names.append(folder.rpartition("/")[2])
    return np.stack(images), np.array(labels), tuple(names)


@cache
def suspected(story: str, file: str = "net.py") -> dict[str, float]:
    """What is suspected before any training."""
    images, labels, names = pictures(story)
    case = load_case(f"{ROOT / story / file}:build", images.shape[1:], len(names))
    fed = feeding.pixels(case, images)
    parts = feeding.split(labels, feeding.first_copies(images), 0)
    given = feeding.material(case, images, fed, labels, names, parts, feeding.first_copies(images))
    look = probe(case, fed, labels, len(names), seeds.child(0, "fit", 0), logits=False)
    found = suspects(dissect(case.build(), fed[:2]), given, look, (), NetworkState.COLLAPSED, 0.5)
    return {cause.code: cause.score for cause in found}


def diagnosed(story: str, file: str = "net.py", *, epochs: int, budget: float) -> Diagnosis:
    images, labels, names = pictures(story)
    case = load_case(f"{ROOT / story / file}:build", images.shape[1:], len(names))
    return diagnose(
        replace(case, epochs=epochs), images, labels, names, model=file, folder=ROOT / story,
        budget=budget, seed=0, on_progress=lambda *step: None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("story", "sensible"),
    [
        ("one_against_all", {"vanishing-gradient", "unscaled-input", "dead-relu"}),
        ("stuck_at_0_6931", {"bad-initializer", "too-strong-l2", "vanishing-gradient"}),
        ("frozen_backbone", {"frozen-backbone-batchnorm", "zero-variance-features"}),
        ("rows_and_columns", {"unscaled-input", "dead-relu", "too-few-filters", "double-softmax"}),
    ],
)
def test_the_first_suspicion_is_sensible_before_any_training(story: str, sensible: set[str]) -> None:
    first, score = next(iter(suspected(story).items()))
    assert first in sensible
    assert score >= 0.3


@pytest.mark.parametrize(
    ("story", "cured"),
    [
        ("one_against_all", "vanishing-gradient"),
        ("stuck_at_0_6931", "bad-initializer"),
        ("frozen_backbone", "frozen-backbone-batchnorm"),
    ],
)
def test_what_was_mended_is_suspected_less(story: str, cured: str) -> None:
    assert suspected(story, "mended.py").get(cured, 0.0) < suspected(story)[cured]


def test_six_images_with_the_same_answer() -> None:
    found = diagnosed("rows_and_columns", epochs=10, budget=5.0)
    assert not found.healthy
    assert found.causes[0].code in {"unscaled-input", "dead-relu", "too-few-filters", "double-softmax"}
    assert "too-few-images" in [cause.code for cause in (*found.causes, *found.remarks)]


def test_the_loss_of_the_fourth_question_is_that_of_a_second_softmax() -> None:
    """0.8133, as the asker saw it: softmax of 0 and 1, right for three images and wrong for three; no gradient."""
    images, labels, names = pictures("rows_and_columns")
    case = load_case(f"{ROOT / 'rows_and_columns/net.py'}:build", images.shape[1:], len(names))
    stuck = 0
    for seed in range(5):
        keras.utils.set_random_seed(seed)
        network = case.build()
        before = network.get_weights()
        loss = network.train_on_batch(images.astype(np.float32), np.eye(2)[labels])[0]
        if loss == pytest.approx((np.log1p(np.exp(-1)) + np.log1p(np.e)) / 2, abs=1e-4):
            stuck += all(np.allclose(a, b, atol=1e-6) for a, b in zip(before, network.get_weights(), strict=True))
    assert stuck >= 2


def test_a_loss_stuck_at_0_6931_is_a_collapse_with_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    untried = FixSearchResult(attempts=(), confirmed=None, complete=False)
    monkeypatch.setattr(diagnosis, "find_fix", lambda *_, **__: untried)  # as if the time were over then
    found = diagnosed("stuck_at_0_6931", epochs=6, budget=240.0)
    assert found.state is NetworkState.COLLAPSED
    for run in found.runs:
        assert run.score == 0.5
        assert run.epochs[-1].data_loss == pytest.approx(np.log(2), abs=0.05)
    assert found.causes[0].code in {"bad-initializer", "too-strong-l2", "vanishing-gradient"}
