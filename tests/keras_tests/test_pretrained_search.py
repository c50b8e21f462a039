"""A search with installed pretrained networks beside those from scratch, on to a model that plain Keras loads."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.keras_tests.runs import plain_keras, run_command

SPACE = """
preset: transfer
backbone: {choices: [none, efficientnet_lite0]}
trainable: {value: frozen}
statistics: {value: kept}
resolution: {value: 64}
learning_rate: {value: 0.001}
"""
SEARCH = ("--data", "images", "--test", "test", "--out", "run", "--space", "space.yaml", "--quiet", "--workers", "1")
TRIALS = 8  # six classifiers that are solved, a network from scratch, and dense layers on the backbone
ASK = """
import json, zipfile
import keras, numpy as np
from PIL import Image
card = json.loads(zipfile.ZipFile("model.keras").read("steadynet/card.json"))
side = card["input"]["image_size"]
model = keras.models.load_model("model.keras")
images = [np.asarray(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)) for path in PATHS]
np.save("said.npy", model.predict(np.stack(images).astype("float32"), verbose=0))
"""


def write_textures(folder: Path, count: int, seed: int) -> None:
    """Stripes that lie, that stand and that lean, anywhere and in noise: easy for features, hard for a new network."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    for name, along in (("class 0", y), ("class 1", x), ("class 2", x + y)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            waves = np.sin((along + rng.uniform(0, 9)) * 2 * np.pi / rng.uniform(5, 9))
            pixels = 128 + 50 * waves[..., None] + rng.normal(0, 40, (48, 48, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    write_textures(folder / "images", count=14, seed=0)
    write_textures(folder / "test", count=6, seed=1)
    (folder / "images" / "class 0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "test" / "class 1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "space.yaml").write_text(SPACE)
    return folder


def test_from_the_search_to_plain_keras(folder: Path) -> None:
    search = (*SEARCH, "--trials", str(TRIALS), "--folds", "3", "--epochs", "6")
    said = run_command(folder, *search)
    assert "Recommended:" in said
    trials = pd.read_csv(folder / "run" / "trials.csv")
    assert trials.backbone.value_counts().to_dict() == {"efficientnet_lite0": 7, "none": 1}
    assert set(trials.classifier[:6]) == {"logistic", "ridge", "discriminant"}
    assert set(trials.state) <= {"complete", "raced", "collapsed"}
    fits = pd.read_csv(folder / "run" / "fits.csv")
    solved = fits[(fits.epochs == 0) & (fits.stage == "search")]
    assert set(solved.verdict) == {"learned"}
    assert set(solved.trial) == set(range(6))
    summary = json.loads((folder / "run" / "summary.json").read_text())
    best = summary["recommended"]
    assert best["test"]["n"] == 18
    assert best["configuration"]["backbone"] == "efficientnet_lite0"
    assert (folder / "run" / "report.html").exists()
    assert run_command(folder, *search).splitlines()[-1].strip() == "loaded:"
    pd.testing.assert_frame_equal(pd.read_csv(folder / "run" / "fits.csv"), fits)

    config = ("--config", "run/best_config.yaml", "--data", "images", "--model", "model.keras", "--quiet")
    said = run_command(folder, "train", *config)
    assert "Model: model.keras  (one fit on 42 images" in said
    assert "not exactly the images" not in said
    run_command(folder, "predict", "--model", "model.keras", "--data", "test", "--csv", "test.csv", "--quiet")
    with (folder / "test.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    right = sum(row["class"] == row["file"].partition("/")[0] for row in rows)
    assert len(rows) == 18
    assert right / 18 == pytest.approx(best["test"]["score"], abs=0.12)
    assert right >= 12, "guessing gives 6"
    assert sum(row["unlike"] == "1" for row in rows) <= 3
    plain_keras(folder, f"PATHS = {[str(folder / 'test' / row['file']) for row in rows]}\n{ASK}")
    expected = [[float(row[f"p_class {k}"]) for k in range(3)] for row in rows]
    np.testing.assert_allclose(np.load(folder / "said.npy"), expected, atol=2e-5)
