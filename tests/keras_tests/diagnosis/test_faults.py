"""Networks with one fault each: what is suspected before any training, and what is confirmed by fits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import seeds
from search.diagnosis import feeding
from search.diagnosis.anatomy import dissect
from search.diagnosis.diagnosis import diagnose
from search.diagnosis.evidence import Diagnosis, NetworkState
from search.diagnosis.probe import probe
from search.diagnosis.suspects import suspects
from tests.keras_tests.diagnosis.broken import FAULTS, HEALTHY, Network, stripes

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns of some of these faults by itself

IMAGES, LABELS = stripes()
CLASSES = ("left", "right")


def suspected(network: Network) -> list[tuple[str, float]]:
    case = network.case()
    fed = feeding.pixels(case, IMAGES)
    parts = feeding.split(LABELS, feeding.first_copies(IMAGES), 0)
    given = feeding.material(case, IMAGES, fed, LABELS, CLASSES, parts, feeding.first_copies(IMAGES))
    look = probe(case, fed, LABELS, 2, seeds.child(0, "fit", 0), logits=False)
    found = suspects(dissect(network.build(), fed[:2]), given, look, (), NetworkState.COLLAPSED, 0.5)
    return [(cause.code, cause.score) for cause in found]


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_suspected_before_training(name: str) -> None:
    codes = [code for code, score in suspected(FAULTS[name]) if score >= 0.3]
    assert FAULTS[name].code in codes[:2], codes


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_network_is_not_strongly_suspected(name: str) -> None:
    assert [code for code, score in suspected(HEALTHY[name]) if score > 0.5] == []


def diagnosed(network: Network, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, **more: Any) -> Diagnosis:
    seen: list[tuple[str, int, int]] = []
    found = diagnose(
        network.case(), images, labels, CLASSES, model="net.py:build", folder=Path("images"),
        budget=more.get("budget", 120.0), seed=0, on_progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert seen, "nothing was told of the progress"
    return found


@pytest.mark.parametrize("name", ["number labels for a one-hot loss", "kernels of zeros"])
def test_the_fault_is_confirmed_and_mended(name: str) -> None:
    found = diagnosed(FAULTS[name])
    assert not found.healthy
    assert (found.causes[0].code, found.causes[0].confirmed) == (FAULTS[name].code, True)
    best = found.fixes[0]
    assert best.confirmed
    assert best.code == FAULTS[name].code
    assert best.change
    assert sum(after >= found.threshold for after in best.after) >= 2
    assert max(best.before) < found.threshold


@pytest.mark.parametrize("name", ["raw pixels, normalized", "one unit"])
def test_a_healthy_network_has_no_cause(name: str) -> None:
    found = diagnosed(HEALTHY[name])
    assert found.healthy
    assert found.causes == ()
    assert found.fixes == ()
    assert [run.learned for run in found.runs] == [True] * 3


def test_a_handful_of_images_is_learned_by_heart_and_tells_no_more() -> None:
    images, labels = stripes(3)
    found = diagnosed(HEALTHY["plain"], images, labels)
    assert found.state is NetworkState.UNTOLD
    assert [cause.code for cause in found.causes] == ["too-few-images"]
    assert found.fixes == ()


def test_labels_that_mean_nothing_are_told_from_a_broken_network() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (80, 8, 8, 1)).astype(np.uint8)
    found = diagnosed(HEALTHY["plain"], images, rng.permutation(np.repeat([0, 1], 40)), budget=25.0)
    assert not found.healthy
    assert found.causes[0].code == "label-noise"
