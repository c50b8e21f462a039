"""Changes of built networks, and the description of what stands."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from search.diagnosis import changes as c
from search.diagnosis.anatomy import dissect
from search.diagnosis.evidence import Anatomy, LayerInfo
from search.diagnosis.surgery import NotApplicableError, changed

IMAGES = np.random.default_rng(0).random((4, 8, 8, 1)).astype(np.float32)


def nested() -> Any:
    """Sequential in functional in Sequential."""
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), layers.Conv2D(6, 3, name="deep"), layers.LeakyReLU(name="leak"),
         layers.Dropout(0.9, name="drop")], name="inner",
    )  # fmt: skip
    entry = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="tanh", name="stem", kernel_regularizer="l2")(entry)
    middle = keras.Model(entry, inner(x), name="middle")
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Rescaling(1 / 255, offset=-1, name="scale"), middle,
         layers.Flatten(name="flat"), layers.Lambda(lambda t: t * 2, name="twice"), layers.Dense(3, name="out"),
         layers.Activation("softmax", name="end")]
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=1e-3), "sparse_categorical_crossentropy")
    return model


def look(model: Any) -> Anatomy:
    return dissect(model, IMAGES)


def layer(model: Any, name: str) -> LayerInfo:
    return next(found for found in look(model).layers if found.name == name)


def test_nested_models_are_opened() -> None:
    anatomy = look(nested())
    assert [found.name for found in anatomy.layers] == [
        "scale", "stem", "deep", "leak", "drop", "flat", "twice", "out", "end",
    ]  # fmt: skip
    by_name = {found.name: found for found in anatomy.layers}
    assert by_name["deep"].path == ("middle", "inner")
    assert by_name["leak"].activation == "leaky_relu"
    assert (by_name["stem"].activation, by_name["stem"].fan_in, by_name["stem"].l2) == ("tanh", 9, pytest.approx(0.01))
    assert (by_name["scale"].scale, by_name["scale"].offset) == (pytest.approx(1 / 255), -1)
    assert by_name["deep"].inputs == ("stem",)
    assert by_name["drop"].rate == 0.9
    assert (anatomy.output, anatomy.outputs) == ("end", 3)
    assert (anatomy.compilation.optimizer, anatomy.compilation.momentum, anatomy.compilation.clipnorm) == (
        "SGD", pytest.approx(0.9), pytest.approx(1e-3),
    )  # fmt: skip
    assert anatomy.compilation.loss == "sparse_categorical_crossentropy"


@pytest.mark.parametrize(
    ("loss", "name", "logits"),
    [("mse", "mean_squared_error", False),
     (keras.losses.BinaryCrossentropy(from_logits=True), "binary_crossentropy", True),
     (keras.losses.categorical_crossentropy, "categorical_crossentropy", False), (lambda t, p: p, "custom", False),
     (keras.losses.KLDivergence(), "kl_divergence", False),
     (tf.nn.softmax_cross_entropy_with_logits, "categorical_crossentropy", True)],
)  # fmt: skip
def test_losses_have_one_name(loss: Any, name: str, logits: bool) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    model.compile("adam", loss)
    found = look(model).compilation
    assert (found.loss, found.from_logits) == (name, logits)


def test_describing_a_network_leaves_it_as_it_is() -> None:
    model = nested()
    before = np.asarray(model(IMAGES))
    look(model)
    assert np.array_equal(np.asarray(model(IMAGES)), before)


def test_edits_that_keep_the_layers() -> None:
    model = changed(
        nested(),
        [c.SetActivation(("stem",), "relu"), c.LimitDropout(0.2), c.ScalePenalties(0.0), c.SetLearningRate(0.5),
         c.SetClipnorm(None), c.SetBatchNormMomentum(0.5), c.SetInitializer(("out",), "zeros"),
         c.SetLoss("categorical_crossentropy")],
    )  # fmt: skip
    anatomy = look(model)
    assert layer(model, "stem").activation == "relu"
    assert layer(model, "stem").l2 == 0.0
    assert model.losses == []
    assert layer(model, "drop").rate == 0.2
    assert (anatomy.compilation.learning_rate, anatomy.compilation.clipnorm) == (0.5, None)
    assert anatomy.compilation.loss == "categorical_crossentropy"
    assert np.allclose(np.asarray(model(IMAGES)), 1 / 3), "an output layer of zeros says the same of all classes"


def test_a_layer_is_left_out() -> None:
    model = changed(nested(), [c.RemoveLayers(("scale",))])
    assert layer(model, "scale").scale is None
    assert np.allclose(np.asarray(changed(nested(), [c.RemoveLayers(("twice",))])(IMAGES)).sum(axis=1), 1)
    old = nested()
    kept = changed(old, [c.RemoveLayers(("drop",))])
    assert np.allclose(np.asarray(kept(IMAGES)), np.asarray(old(IMAGES)), atol=1e-6), "all weights are the same"


def test_a_layer_is_widened_and_what_follows_fits() -> None:
    model = changed(nested(), [c.SetUnits(("deep",), 20)])
    assert layer(model, "deep").units == 20
    assert layer(model, "out").fan_in == 36 * 20


def test_batchnorm_goes_between_a_layer_and_its_activation() -> None:
    model = changed(nested(), [c.InsertBatchNorm(("stem", "deep"), 0.8)])
    kinds = [found.kind for found in look(model).layers]
    assert kinds[1:4] == ["Conv2D", "BatchNormalization", "Activation"]
    assert kinds.count("BatchNormalization") == 2
    assert layer(model, "stem").activation == "linear"


def test_an_activation_layer_is_swapped() -> None:
    model = changed(nested(), [c.SetActivation(("leak",), "relu"), c.SetActivation(("end",), "sigmoid")])
    assert (layer(model, "leak").activation, layer(model, "end").activation) == ("relu", "sigmoid")


@pytest.mark.parametrize("kind", [layers.Softmax, layers.ReLU, layers.LeakyReLU])
def test_any_activation_layer_of_a_functional_model_is_swapped(kind: Any) -> None:
    entry = keras.Input((8, 8, 1))
    out = kind(name="end")(layers.Dense(2, name="score")(layers.Flatten()(entry)))
    model = keras.Model(entry, out)
    model.compile("sgd", "binary_crossentropy")
    found = changed(model, [c.SetActivation(("end",), "sigmoid")])
    scores = keras.Model(entry, model.get_layer("score").output)(IMAGES)
    np.testing.assert_allclose(found(IMAGES), keras.ops.sigmoid(scores), rtol=1e-5)


def test_frozen_layers_learn_again() -> None:
    model = nested()
    model.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert look(changed(model, [c.Unfreeze()])).trainable == model.count_params()


def test_a_model_of_its_own_class_keeps_its_layers() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.out = layers.Flatten(), layers.Dense(2, activation="softmax", name="out")

        def call(self, inputs: Any) -> Any:
            return self.out(self.flat(inputs))

    model = Own()
    model(IMAGES)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert [found.kind for found in look(model).layers] == ["Flatten", "Dense"]
    assert layer(changed(model, [c.SetActivation(("out",), "sigmoid")]), "out").activation == "sigmoid"
    with pytest.raises(NotApplicableError):
        changed(model, [c.SetUnits(("out",), 4)])
