"""Small networks with one fault each, in different guises, and healthy ones, on made images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from search.diagnosis.loading import Case

SHAPE = (8, 8, 1)


def stripes(per_class: int = 20, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`(n, 8, 8, 1)` uint8 noise with a brighter band at a place that tells the class, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    images = rng.integers(0, 120, (len(labels), *SHAPE))
    band = 8 // classes
    for image, label in zip(images, labels, strict=True):
        image[:, band * label : band * (label + 1)] += 90
    return images.astype(np.uint8), labels.astype(np.int64)


@dataclass(frozen=True)
class Network:
    """A network and how it is trained."""

    code: str | None  # the fault; None: healthy
    body: Callable[[], list[Any]]  # layers between input and output
    end: Callable[[], list[Any]] = lambda: [layers.Dense(2, activation="softmax", name="out")]
    labels: str = "int"
    loss: Any = "sparse_categorical_crossentropy"
    optimizer: Callable[[], Any] = lambda: keras.optimizers.Adam(0.01)
    scaled: bool = True
    functional: bool = False
    fit: dict[str, Any] = field(default_factory=dict)
    after: Callable[[Any], None] = lambda model: None

    def build(self) -> Any:
        """A new compiled model."""
        stack = [*([layers.Rescaling(1 / 255)] if self.scaled else []), *self.body(), *self.end()]
        if self.functional:
            inputs = x = keras.Input(SHAPE)
            for layer in stack:
                x = layer(x)
            model = keras.Model(inputs, x)
        else:
            model = keras.Sequential([keras.Input(SHAPE), *stack])
        self.after(model)
        model.compile(self.optimizer(), self.loss)
        return model

    def case(self) -> Case:
        """As the command line would load it."""
        return Case(
            model="net.py:build", build=self.build, labels=self.labels, **{"batch_size": 10, "epochs": 8, **self.fit}
        )


def dense(units: int = 16, activation: Any = "relu", depth: int = 1, **more: Any) -> Callable[[], list[Any]]:
    return lambda: [
        layers.Flatten(),
        *(layers.Dense(units, activation=activation, name=f"fc{i}", **more) for i in range(depth)),
    ]


def conv(filters: int = 8, *inner: Callable[[], Any], **more: Any) -> Callable[[], list[Any]]:
    return lambda: [
        layers.Conv2D(filters, 3, activation="relu", name="conv", **more), *(make() for make in inner),
        layers.Flatten(name="flat"),
    ]  # fmt: skip


def one(activation: str | None) -> Callable[[], list[Any]]:
    return lambda: [layers.Dense(1, activation=activation, name="out")]


def sgd(rate: float, **more: Any) -> Callable[[], Any]:
    return lambda: keras.optimizers.SGD(rate, **more)


def nested_backbone() -> list[Any]:
    """A frozen backbone whose BatchNorm has seen pixels of another scale."""
    inner = keras.Sequential(
        [keras.Input(SHAPE), layers.Conv2D(8, 3, name="stem"), layers.BatchNormalization(momentum=0.9, name="norm"),
         layers.ReLU(), layers.GlobalAveragePooling2D()], name="base",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    inner.get_layer("norm").momentum = 0.0
    inner(rng.normal(300, 200, (32, *SHAPE)).astype("float32"), training=True)
    inner.get_layer("norm").momentum = 0.9
    inner.trainable = False
    return [inner]


def freeze(model: Any) -> None:
    model.trainable = False


def summed(target: Any, output: Any) -> Any:
    return 10.0 * keras.ops.sum(keras.losses.sparse_categorical_crossentropy(target, output))


FAULTS: dict[str, Network] = {
    "one-unit softmax": Network(
        "softmax-on-one-unit", conv(), one("softmax"), labels="binary", loss="binary_crossentropy", functional=True),
    "softmax layer on a softmax": Network(
        "double-softmax", conv(),
        lambda: [layers.Dense(2, activation="softmax", name="out"), layers.Softmax(name="again")]),
    "logits as probabilities": Network("missing-output-activation", conv(), lambda: [layers.Dense(2, name="out")]),
    "one logit as probability": Network(
        "missing-output-activation", dense(), one(None), labels="binary", loss="binary_crossentropy"),
    "relu layer at the end": Network(
        "relu-on-output", dense(), lambda: [layers.Dense(2, name="out"), layers.ReLU(name="end")], labels="onehot",
        loss="categorical_crossentropy"),
    "categorical loss on one unit": Network(
        "wrong-loss-pairing", conv(), one("sigmoid"), labels="binary", loss="categorical_crossentropy"),
    "number labels for a one-hot loss": Network("wrong-loss-pairing", dense(), loss="categorical_crossentropy"),
    "kernels of zeros": Network("tied-constant-init", dense(kernel_initializer="zeros", depth=2), functional=True),
    "kernels of ones": Network("tied-constant-init", dense(kernel_initializer="ones")),
    "wide normal kernels": Network(
        "bad-initializer", dense(64, depth=3, kernel_initializer=keras.initializers.RandomNormal(stddev=2.0))),
    "faint kernels": Network(
        "bad-initializer", dense(depth=4, kernel_initializer=keras.initializers.RandomUniform(-0.01, 0.01))),
    "many sigmoids": Network("vanishing-gradient", dense(depth=7, activation="sigmoid"), optimizer=sgd(0.05)),
    "linear layers": Network("no-nonlinearity", dense(depth=2, activation=None)),
    "one unit in between": Network(
        "bottleneck", lambda: [*dense(16)(), layers.Dense(1, activation="relu", name="neck")]),
    "raw pixels": Network("unscaled-input", conv(), optimizer=sgd(0.05, momentum=0.9), scaled=False),
    "scaled twice": Network(
        "input-scaled-twice", lambda: [layers.Rescaling(1 / 255, name="again"), *dense()()], functional=True,
        optimizer=sgd(0.05, momentum=0.9)),
    "everything frozen": Network("frozen-all", conv(), after=freeze),
    "frozen base of other images": Network(
        "frozen-backbone-batchnorm", nested_backbone, functional=True, optimizer=sgd(0.05)),
    "huge rate": Network("lr-too-high", conv(), optimizer=lambda: keras.optimizers.RMSprop(1.0)),
    "tiny rate": Network("lr-too-low", conv(), optimizer=sgd(1e-8)),
    "gradients clipped away": Network("clipnorm-too-small", conv(), optimizer=sgd(0.05, clipnorm=1e-6)),
    "summed loss": Network(
        "sum-not-mean-loss", dense(32), optimizer=sgd(0.3),
        loss=keras.losses.SparseCategoricalCrossentropy(reduction="sum")),
    "loss summed by hand": Network("sum-not-mean-loss", dense(32), optimizer=sgd(0.3), loss=summed),
    "dropout of nearly all": Network("too-much-dropout", conv(8, lambda: layers.SpatialDropout2D(0.97, name="drop"))),
    "strong penalty": Network("too-strong-l2", dense(32, depth=2, kernel_regularizer=keras.regularizers.L2(3.0))),
    "noise over all": Network(
        "excessive-augmentation", lambda: [layers.GaussianNoise(1.0, name="noise"), *dense()()], functional=True),
    "sluggish BatchNorm": Network(
        "batchnorm-momentum", lambda: [*conv()(), layers.BatchNormalization(momentum=0.9999, name="norm")],
        scaled=False),
    "weights turned round": Network(
        "majority-class", dense(), fit={"class_weight": {0: 1.0, 1: 1e-4}}),
}  # fmt: skip

HEALTHY: dict[str, Network] = {
    "plain": Network(None, conv()),
    "one unit": Network(None, dense(), one("sigmoid"), labels="binary", loss="binary_crossentropy"),
    "raw pixels, normalized": Network(
        None, lambda: [layers.Conv2D(8, 3), layers.BatchNormalization(momentum=0.8), layers.ReLU(), layers.Flatten()],
        scaled=False, functional=True),
    "two sigmoids": Network(None, dense(activation="sigmoid", depth=2), fit={"epochs": 12}),
    "one-hot": Network(None, conv(), labels="onehot", loss="categorical_crossentropy"),
    "softmax and from_logits": Network(None, conv(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
}  # fmt: skip
