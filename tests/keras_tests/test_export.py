"""The delivered model: what our engine says, by plain Keras alone."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.arrays import FloatArray
from search.data.decode import RECIPE
from search.delivery import card as cards
from search.delivery.card import Card
from search.selection import metrics
from search.selection.offset import offset_probabilities
from search.settings import TrainingProtocol
from search.training import device
from search.training.engine import Engine
from search.training.export import deliver, fitted_model, probabilities, save_fitted, shapes
from search.training.lr_schedule import Schedule
from search.training.sampling import Balance
from spaces.image_format import ImageFormat

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves

OFFSET = (0.6, -0.4, -0.2)
NONE = (0.0, 0.0, 0.0)
PRIOR = np.array([0.5, 0.3, 0.2])
CHANGES = {
    "unit": {},
    "symmetric, batchnorm": {"input_scaling": "symmetric", "normalization": "batch", "dropout": 0.5},
    "standardized, groups": {"input_scaling": "standardized", "normalization": "group", "horizontal_flip": True},
    "convolutions": {"dense_ratio": 0.0, "input_scaling": "standardized", "normalization": "batch", "head": "max"},
    "dense": {"dense_ratio": 1.0, "activation": "gelu", "input_scaling": "standardized"},
}

# What a user without our packages does: -I leaves out the working directory, PYTHONPATH and the user's own packages.
FOREIGN = """
import json, pathlib, sys, zipfile
import numpy as np
# where the project is installed its packages are there to be found: no import of them may succeed
sys.modules.update(dict.fromkeys(("search", "spaces", "reports", "run_search")))
import keras
folder = pathlib.Path(sys.argv[1])
for name in sys.argv[2:]:
    model = keras.models.load_model(folder / f"{name}.keras")
    np.save(folder / f"{name}.npy", model.predict(np.load(folder / "images.npy").astype("float32"), verbose=0))
    card = json.loads(zipfile.ZipFile(folder / f"{name}.keras").read("steadynet/card.json"))
    print(json.dumps([card["classes"], [layer.dtype_policy.name for layer in model.layers]]))
"""

MakeEngine = Callable[..., Engine]


def train(engine: Engine, labels: np.ndarray, seed: int = 1, epochs: int = 6) -> Engine:
    """A few epochs, so that weights and moving statistics are no initial values."""
    rows = np.arange(len(labels))
    engine.begin(seed, rows[seed:], Balance(PRIOR, np.ones(3), PRIOR, np.zeros(3)))
    batches = np.random.default_rng(seed).permutation(rows)[:56].reshape(7, 8).astype(np.int32)
    for epoch in range(epochs):
        engine.train_epoch(batches, Schedule.planned(epochs, 7).rates(0) * np.float32(0.01), epoch)
    return engine


def engine_says(engine: Engine, labels: np.ndarray) -> FloatArray:
    return metrics.softmax(engine.logits(np.arange(len(labels))))


@pytest.mark.parametrize(("name", "offset"), [*zip(CHANGES, (NONE, OFFSET, OFFSET, NONE, OFFSET), strict=True)])
def test_the_model_says_what_the_engine_says(make_engine, images, labels, tmp_path, name, offset) -> None:
    engine = train(make_engine(**CHANGES[name]), labels)
    expected = engine_says(engine, labels)
    save_fitted(engine, tmp_path / "kept.keras")
    weights = deliver([tmp_path / "kept.keras"], offset, tmp_path / "model.keras")
    found = probabilities(tmp_path / "model.keras", images)
    np.testing.assert_allclose(found, offset_probabilities(expected, offset), atol=1e-5)
    assert expected.std(0).max() > 0.02, "the images are told apart, so that there is something to compare"
    assert weights >= engine.parameters
    assert shapes(tmp_path / "model.keras") == ((8, 8, 3), (3,))


def test_keeping_a_network_does_not_change_it(make_engine, labels, tmp_path) -> None:
    engine = train(make_engine(normalization="batch"), labels)
    before = engine_says(engine, labels)
    save_fitted(engine, tmp_path / "kept.keras")
    train(engine, labels, seed=2)
    deliver([tmp_path / "kept.keras"], OFFSET, tmp_path / "model.keras")
    assert not np.allclose(engine_says(engine, labels), before, atol=1e-3)
    engine = train(engine, labels)
    np.testing.assert_allclose(engine_says(engine, labels), before, atol=1e-6)


def test_an_ensemble_gives_the_mean_of_its_members_probabilities(make_engine, images, labels, tmp_path) -> None:
    engine = make_engine(input_scaling="standardized", normalization="batch")
    said, paths = [], []
    for seed in (1, 2, 3):
        said.append(engine_says(train(engine, labels, seed), labels))
        paths.append(tmp_path / f"{seed}.keras")
        save_fitted(engine, paths[-1])
    assert np.abs(said[0] - said[1]).max() > 0.01, "the members differ"
    for offset in (NONE, OFFSET):
        model = tmp_path / f"{offset[0]}.keras"
        deliver(paths, offset, model)
        expected = offset_probabilities(np.mean(said, axis=0), offset)
        np.testing.assert_allclose(probabilities(model, images), expected, atol=1e-5)


def test_a_certain_ensemble_stays_finite(make_engine, images, labels, tmp_path) -> None:
    engine = train(make_engine(), labels)
    engine.network.get_layer("logits").bias.assign([200.0, 0.0, -200.0])
    for name in ("a", "b"):
        save_fitted(engine, tmp_path / f"{name}.keras")
    deliver([tmp_path / "a.keras", tmp_path / "b.keras"], (-30.0, 0.0, 30.0), tmp_path / "model.keras")
    np.testing.assert_allclose(probabilities(tmp_path / "model.keras", images)[:, 0], 1.0)


def test_mixed_precision_is_delivered_as_float32(make_configuration, images, labels) -> None:
    protocol = TrainingProtocol(
        epochs=3, images=ImageFormat(image_size=8, channels=3), classes=3, precision="mixed_bfloat16"
    )
    tensors = device.tensor(images), device.tensor(labels.astype(np.int32))
    engine = train(Engine(make_configuration(normalization="batch"), protocol, *tensors, 100), labels)
    model = fitted_model(engine)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    found = np.asarray(model.predict_on_batch(images.astype(np.float32)))
    np.testing.assert_allclose(found, engine_says(engine, labels), atol=0.05)


def test_plain_keras_without_our_packages_says_the_same(make_engine, images, labels, tmp_path) -> None:
    engine = train(make_engine(normalization="batch", input_scaling="standardized"), labels)
    expected = offset_probabilities(engine_says(engine, labels), OFFSET)
    np.save(tmp_path / "images.npy", images)
    save_fitted(engine, tmp_path / "kept.keras")
    names = ("bénigne", 'a "quoted" one', "\udcff")
    models = {"single": 1, "ensemble": 2}
    for name, members in models.items():
        deliver([tmp_path / "kept.keras"] * members, OFFSET, tmp_path / f"{name}.keras")
        cards.put_in(
            tmp_path / f"{name}.keras",
            Card(classes=names, images=ImageFormat(image_size=8, channels=3), recipe=RECIPE, offset=OFFSET),
            b"-",
        )
        assert_nothing_of_ours(tmp_path / f"{name}.keras")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    told = subprocess.run(
        [sys.executable, "-I", "-c", FOREIGN, str(tmp_path), *models],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert told.returncode == 0, told.stderr
    for name, line in zip(models, told.stdout.splitlines()[-2:], strict=True):
        classes, dtypes = json.loads(line)
        assert tuple(classes) == names
        assert set(dtypes) == {"float32"}
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=1e-5)


def assert_nothing_of_ours(model: Path) -> None:
    """Every object of the archive is Keras' own, and none is code."""
    modules, names = [], []

    def look(value: object) -> None:
        if isinstance(value, dict):
            modules.append(value.get("module"))
            names.append(value.get("class_name"))
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    with zipfile.ZipFile(model) as archive:
        look(json.loads(archive.read("config.json")))
    assert all(module.startswith("keras") for module in modules if module)
    assert not {"Lambda", "__lambda__"} & set(names)
