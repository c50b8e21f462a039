"""The user's file: what is read from it, and errors that are theirs."""

from pathlib import Path

import keras
import pytest
from keras import layers

from search.diagnosis.loading import load_case
from search.errors import UserCodeError

GOOD = """
import keras
from keras import layers
def build(input_shape, n_classes):
    model = keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense({units}, activation="softmax")])
    model.compile("sgd", "{loss}")
    return model
"""


def written(folder: Path, text: str, name: str = "net.py") -> str:
    (folder / name).write_text(text)
    return f"{folder / name}:build"


def good(units: str = "n_classes", loss: str = "sparse_categorical_crossentropy") -> str:
    return GOOD.format(units=units, loss=loss)


@pytest.mark.parametrize(
    ("units", "loss", "labels"),
    [("n_classes", "sparse_categorical_crossentropy", "int"), ("n_classes", "categorical_crossentropy", "onehot"),
     ("1", "binary_crossentropy", "binary"), ("1", "sparse_categorical_crossentropy", "int")],
)  # fmt: skip
def test_labels_are_guessed_from_loss_and_output(tmp_path: Path, units: str, loss: str, labels: str) -> None:
    assert load_case(written(tmp_path, good(units, loss)), (8, 8, 1), 2).labels == labels


def test_constants_are_read(tmp_path: Path) -> None:
    constants = """
LABELS = "onehot"
FIT = dict(batch_size=4, epochs=3, class_weight={0: 1, 1: 2})
def PREPROCESS(x):
    return x / 255
"""
    case = load_case(written(tmp_path, good() + constants), (8, 8, 1), 2)
    assert (case.labels, case.batch_size, case.epochs, case.class_weight) == ("onehot", 4, 3, {0: 1, 1: 2})
    assert case.preprocess is not None
    assert case.augment is None
    assert case.build().output_shape == (None, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no function build"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def build(input_shape, n_classes):\n    return 1 / 0", "ZeroDivisionError"),
        ("def build(input_shape):\n    return None", "TypeError"),
        ("def build(input_shape, n_classes):\n    return None", "NoneType; it must return a compiled Keras model"),
        (good().replace('    model.compile("sgd", "sparse_categorical_crossentropy")\n', ""), "is not compiled"),
        (good("5").replace("5", "n_classes - 1"), r"gives \(2,\) numbers"),
        (good("n_classes + 4"), r"gives \(7,\) numbers"),
        (good().replace("layers.Flatten(), ", ""), "Flatten or pool"),
        (good().replace("input_shape),", "(9, 9, 3)),"), r"expects inputs of \(9, 9, 3\)"),
        (good() + "\nLABELS = 'words'", "LABELS is 'words'"),
        (good() + "\nFIT = dict(epoch=3)", "unknown setting 'epoch'"),
        (good() + "\nFIT = dict(epochs=0)", "whole number of at least 1"),
        (good() + "\nFIT = dict(class_weight={7: 1.0})", "class number"),
        (good() + "\nLABEL = 'int'", "Did you mean LABELS"),
        (good() + "\nAUGMENT = 3", "must be a function"),
    ],
)
def test_faults_of_the_file_are_told_as_the_users(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserCodeError, match=message):
        load_case(written(tmp_path, text), (8, 8, 1), 3)


def test_their_traceback_comes_along(tmp_path: Path) -> None:
    with pytest.raises(UserCodeError) as caught:
        load_case(written(tmp_path, "def build(input_shape, n_classes):\n    return 1 / 0"), (8, 8, 1), 2)
    assert caught.value.lines[-1] == "ZeroDivisionError: division by zero"
    assert any("net.py" in line and "line 2" in line for line in caught.value.lines)


@pytest.mark.parametrize("model", ["there_is_none.py:build", "there_is_none.keras"])
def test_a_missing_file(model: str) -> None:
    with pytest.raises(UserCodeError, match="no file"):
        load_case(model, (8, 8, 1), 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves
def test_a_saved_model_starts_anew_where_it_was_trained(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2, activation="softmax", name="out")]
    )
    model.compile(keras.optimizers.SGD(0.125), "sparse_categorical_crossentropy")
    model.get_layer("out").kernel.assign(keras.ops.full((16, 2), 9.0))
    model.save(tmp_path / "fresh.keras")
    fresh = load_case(str(tmp_path / "fresh.keras"), (4, 4, 1), 2).build()
    assert float(keras.ops.min(fresh.get_layer("out").kernel)) == 9.0
    model.optimizer.iterations.assign(7)
    model.save(tmp_path / "trained.keras")
    case = load_case(str(tmp_path / "trained.keras"), (4, 4, 1), 2)
    again = case.build()
    assert float(keras.ops.max(again.get_layer("out").kernel)) < 2.0
    assert again.optimizer.learning_rate.numpy() == 0.125
    assert again.optimizer.iterations.numpy() == 0
    assert case.labels == "int"


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "broken.keras").write_text("nothing")
    with pytest.raises(UserCodeError, match="loading the model"):
        load_case(str(tmp_path / "broken.keras"), (4, 4, 1), 2)
