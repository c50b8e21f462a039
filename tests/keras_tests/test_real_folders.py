"""From the search to plain Keras where images are of every size, classes stand in a table, networks are pretrained."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from search.training import backbones
from spaces.backbones import BACKBONES
from tests.keras_tests.runs import plain_keras, run_command

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves

SEARCH = ("--out", "run", "--quiet", "--space", "space.yaml", "--trials", "1", "--folds", "2", "--workers", "1")
NATIVE = """
preset: core
depth: {value: 3}
dense_ratio: {value: 0.0}
batch_size: {value: 8}
learning_rate: {value: 0.01}
head: {choices: [average, max, pyramid_2]}
"""
FROZEN = """
preset: transfer
backbone: {value: mobilenet_025}
trainable: {value: frozen}
statistics: {value: kept}
resolution: {value: 0}
classifier: {value: layers}
"""
ASK = """
import keras, numpy as np
for folder in folders:
    model = keras.models.load_model(f"{folder}/model.keras")
    pixels = np.load(f"{folder}/pixels.npy").astype("float32")
    np.save(f"{folder}/said.npy", model.predict(pixels[None], verbose=0)[0])
"""


def write_every_size(folder: Path, count: int) -> None:
    """Wide, high and square noise, with a bright bar that lies or stands: the class is in the table only."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = [("file", "label")]
    for number in range(count):
        height, width = ((16, 28), (28, 16), (20, 20))[number % 3]
        pixels = rng.integers(0, 120, (height, width, 3))
        lies = number % 2
        at = np.index_exp[4:8, :] if lies else np.index_exp[:, 4:8]
        pixels[at] += 120
        name = f"{number}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        rows.append((name, "lies" if lies else "stands"))
    with (folder.parent / f"{folder.name}.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def write_colours(folder: Path, count: int) -> None:
    """Noise with more of one colour, which even random networks tell apart."""
    rng = np.random.default_rng(count)
    for k in range(3):
        (folder / f"class {k}").mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 140, (32, 32, 3))
            pixels[..., k] += 110
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"class {k}" / f"{number}.png")


def some_backbone() -> keras.Model:
    """Random weights, but statistics by which signals reach its end."""
    keras.utils.set_random_seed(0)
    core = backbones._core(BACKBONES["mobilenet_025"])
    for layer in core.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    core(np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3)), training=True)
    return core


def train_and_predict(folder: Path, *data: str) -> None:
    """By the commands, from the configuration that the search recommends."""
    run_command(folder, "train", "--config", "run/best_config.yaml", *data, "--model", "model.keras", "--quiet")
    run_command(folder, "predict", "--model", "model.keras", "--data", "new", "--csv", "new.csv", "--quiet")


def predicted(folder: Path) -> dict[str, list[float]]:
    """Probabilities of each file, in the classes' order."""
    with (folder / "new.csv").open(newline="") as stream:
        return {
            row["file"]: [float(p) for name, p in row.items() if name.startswith("p_")]
            for row in csv.DictReader(stream)
        }


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that comes of images of every size whose classes stand in a table."""
    folder = tmp_path_factory.mktemp("native")
    write_every_size(folder / "images", 72)
    write_every_size(folder / "new", 6)
    (folder / "space.yaml").write_text(NATIVE)
    data = ("--data", "images", "--labels", "images.csv")
    run_command(folder, *data, "--image-size", "native", *SEARCH, "--epochs", "16")
    train_and_predict(folder, *data)
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that comes of a backbone whose weights lie in a file."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "weights").mkdir()
    some_backbone().save_weights(folder / "weights" / "mine.weights.h5")
    write_colours(folder / "images", 20)
    write_colours(folder / "new", 2)
    (folder / "space.yaml").write_text(FROZEN)
    data = ("--data", "images", "--weights", "mobilenet_025=weights/mine.weights.h5")
    run_command(folder, *data, "--image-size", "32", *SEARCH, "--epochs", "40")
    train_and_predict(folder, *data)
    return folder


@pytest.fixture(scope="module")
def by_plain_keras(native: Path, pretrained: Path) -> dict[Path, np.ndarray]:
    """What both models say in plain Keras of the pixels of one image as they are."""
    for folder, name in ((native, "1.png"), (pretrained, "class 0/0.png")):
        with Image.open(folder / "new" / name) as image:
            np.save(folder / "pixels.npy", np.asarray(image))
    plain_keras(native, f"folders = {[str(native), str(pretrained)]}\n{ASK}")
    return {folder: np.load(folder / "said.npy") for folder in (native, pretrained)}


def test_images_of_every_size_with_a_table_of_labels(native: Path, by_plain_keras: dict[Path, np.ndarray]) -> None:
    summary = json.loads((native / "run" / "summary.json").read_text())
    assert summary["data"]["classes"] == {"lies": 36, "stands": 36}
    assert summary["recommended"] is not None
    assert np.load(native / "pixels.npy").shape == (28, 16, 3)
    said = by_plain_keras[native]
    np.testing.assert_allclose(said, predicted(native)["1.png"], atol=1e-5)
    assert said.argmax() == 0  # it lies


def test_a_pretrained_network_from_a_file(pretrained: Path, by_plain_keras: dict[Path, np.ndarray]) -> None:
    summary = json.loads((pretrained / "run" / "summary.json").read_text())
    assert summary["recommended"] is not None, summary["reason"]
    assert summary["recommended"]["configuration"]["backbone"] == "mobilenet_025"
    np.testing.assert_allclose(by_plain_keras[pretrained], predicted(pretrained)["class 0/0.png"], atol=1e-5)
