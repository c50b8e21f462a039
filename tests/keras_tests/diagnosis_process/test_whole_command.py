"""`run_search.py diagnose` as a user runs it: in a process of its own that loads TensorFlow and the user's file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import run_search

Run = Callable[..., "subprocess.CompletedProcess[str]"]

NET = """
import keras

print("hello from the user's file")
LABELS = "int"
FIT = dict(batch_size=8, epochs=8)


def build(input_shape, n_classes):
    model = keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(n_classes, activation="softmax", name="out"),
    ])
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return model
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command on 3 x 3 pixels that are dark in one class and bright in the other."""
    rng = np.random.default_rng(0)
    for name, light in (("dark", 40), ("bright", 200)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(light - 30, light + 30, (3, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")

    def start(net: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "net.py").write_text(net)
        command = [sys.executable, run_search.__file__, "diagnose", "--data", "images", "--model", "net.py:build"]
        return subprocess.run(
            [*command, "--out", "out", "--budget", "20s"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "STEADYNET_CACHE": str(tmp_path / "cache")},
        )

    return start


def test_a_healthy_network_is_called_healthy(run: Run, tmp_path: Path) -> None:
    done = run(NET)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "Healthy: the network learns."), done.stderr
    assert "hello" not in done.stdout + done.stderr
    assert "hello from the user's file" in (tmp_path / "out/diagnose.log").read_text().splitlines()
    found = json.loads((tmp_path / "out/diagnosis.json").read_text())
    assert (found["schema"], found["healthy"], found["causes"]) == (1, True, [])
    page = (tmp_path / "out/diagnosis.html").read_text()
    assert "3 x 3 x 1" in page
    assert "Healthy: the network learns" in page


def test_an_error_in_build_is_shown_as_theirs(run: Run, tmp_path: Path) -> None:
    done = run(NET.replace("    return model", "    return model.compile_and_go()"))
    assert done.returncode == 2
    *trace, line = done.stderr.splitlines()
    assert line.startswith("error: net.py: ")
    assert any("net.py" in one and "in build" in one for one in trace)
    assert any("compile_and_go" in one for one in trace)
    assert "Loading TensorFlow" in trace
    assert not (tmp_path / "out/diagnosis.json").exists()
