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
from tests.keras_tests.runs import plain_keras, told

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
"""
ASK = """
import keras, numpy as np
model = keras.models.load_model("model.keras")
pixels = np.load("pixels.npy").astype("float32")
np.save("said.npy", model.predict(pixels[None], verbose=0)[0])
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


def asked(folder: Path, pixels: np.ndarray, *trained: str) -> np.ndarray:
    """What `train` delivers says in plain Keras of an image as it is; `predict` must say the same of its file."""
    told(folder, "train", "--config", "run/best_config.yaml", *trained, "--model", "model.keras", "--quiet")
    told(folder, "predict", "--model", "model.keras", "--data", "new", "--csv", "new.csv", "--quiet")
    np.save(folder / "pixels.npy", pixels)
    plain_keras(folder, ASK)
    return np.load(folder / "said.npy")


def predicted(folder: Path) -> dict[str, list[float]]:
    """Probabilities of each file, in the classes' order."""
    with (folder / "new.csv").open(newline="") as stream:
        return {
            row["file"]: [float(p) for name, p in row.items() if name.startswith("p_")]
            for row in csv.DictReader(stream)
        }


def test_images_of_every_size_with_a_table_of_labels(tmp_path: Path) -> None:
    write_every_size(tmp_path / "images", 72)
    write_every_size(tmp_path / "new", 6)
    (tmp_path / "space.yaml").write_text(NATIVE)
    common = ("--data", "images", "--labels", "images.csv", "--image-size", "native", "--out", "run", "--quiet")
    told(
        tmp_path, *common, "--space", "space.yaml", "--trials", "2", "--folds", "3", "--epochs", "16", "--workers", "1"
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["data"]["classes"] == {"lies": 36, "stands": 36}
    assert summary["recommended"] is not None
    with Image.open(tmp_path / "new" / "1.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (28, 16, 3)
    said = asked(tmp_path, pixels, "--data", "images", "--labels", "images.csv")
    np.testing.assert_allclose(said, predicted(tmp_path)["1.png"], atol=1e-5)
    assert said.argmax() == 0  # it lies


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves
def test_a_pretrained_network_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    some_backbone().save_weights(tmp_path / "weights" / "mine.weights.h5")
    write_colours(tmp_path / "images", 20)
    write_colours(tmp_path / "new", 2)
    (tmp_path / "space.yaml").write_text(FROZEN)
    weights = ("--weights", "mobilenet_025=weights/mine.weights.h5")
    common = ("--data", "images", "--image-size", "32", "--out", "run", "--quiet", *weights)
    told(
        tmp_path, *common, "--space", "space.yaml", "--trials", "2", "--folds", "2", "--epochs", "40", "--workers", "1"
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["recommended"] is not None, summary["reason"]
    assert summary["recommended"]["configuration"]["backbone"] == "mobilenet_025"
    with Image.open(tmp_path / "new" / "class 0" / "0.png") as image:
        pixels = np.asarray(image)
    said = asked(tmp_path, pixels, "--data", "images", *weights)
    np.testing.assert_allclose(said, predicted(tmp_path)["class 0/0.png"], atol=1e-5)
