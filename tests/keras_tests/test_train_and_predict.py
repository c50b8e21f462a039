"""`train` and `predict` as a user starts them, with real trainings in a process of their own."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.factories import configuration
from tests.keras_tests.runs import ROOT, plain_keras, run_command, write_images
from tests.search.delivery.stand_in import write_config

CHOSEN = configuration(batch_size=8, width=8, input_scaling="standardized", normalization="batch", learning_rate=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("delivery")
    write_images(folder / "images")
    write_images(folder / "new", count=8, seed=1)
    write_config(
        folder / "best_config.yaml",
        configuration={"sampled": CHOSEN.as_dict()},
        training={
            "epochs": 12,
            "image_size": 12,
            "channels": 3,
            "classes": 3,
            "precision": "float32",
            "engine": 1,
        },
        classes=["class 0", "class 1", "class 2"],
        decision_offset=[0.2, -0.1, -0.1],
    )
    return folder


def readme_code() -> str:
    """What docs/train-and-predict.md tells people without our packages to do."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "train-and-predict.md").read_text(), flags=re.DOTALL)
    return code + "\nnp.save('said.npy', probabilities)\n"


def train_and_ask(folder: Path, name: str, *more: str) -> tuple[str, list[dict[str, str]]]:
    """What `train` says, and the table that `predict` writes for the new images."""
    model, table = f"{name}.keras", f"{name}.csv"
    common = ("--config", "best_config.yaml", "--data", "images", "--model", model, "--quiet")
    trained = run_command(folder, "train", *common, *more)
    said = run_command(folder, "predict", "--model", model, "--data", "new", "--csv", table, "--quiet")
    with (folder / table).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    right = sum(row["class"] == row["file"].partition("/")[0] for row in rows)
    assert f"In the folder of the predicted class: {right} of 24" in said
    assert right >= 16, "bands of the classes are learned: guessing gives 8"
    assert all(sum(float(row[f"p_class {k}"]) for k in range(3)) == pytest.approx(1, abs=1e-4) for row in rows)
    assert sum(row["unlike"] == "1" for row in rows) <= 3
    return trained, rows


def test_plain_keras_does_as_predict_by_the_readmes_code(folder) -> None:
    said, rows = train_and_ask(folder, "model")
    assert "Model: model.keras  (one fit on 60 images" in said
    shutil.copy(folder / "new" / rows[0]["file"], folder / "photo.jpg")
    plain_keras(folder, readme_code())
    expected = [float(rows[0][f"p_class {k}"]) for k in range(3)]
    np.testing.assert_allclose(np.load(folder / "said.npy"), expected, atol=1e-5)


def test_an_ensemble_is_trained_and_asked_like_a_single_model(folder) -> None:
    said, _ = train_and_ask(folder, "ensemble", "--ensemble")
    assert "Model: ensemble.keras  (average of 3 fits on 60 images" in said
    assert "Held-out balanced accuracy" in said
