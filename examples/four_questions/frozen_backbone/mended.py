"""net.py with the change that diagnose confirmed: no Rescaling, the backbone was made for large pixel values."""

import keras
import numpy as np
from keras import layers

LABELS = "onehot"
FIT = {"batch_size": 16, "epochs": 10}


def convolution(x, filters, size, stride, name):
    """A convolution and its BatchNorm."""
    x = layers.Conv2D(
        filters, size, strides=stride, padding="same", use_bias=False,
        kernel_initializer=keras.initializers.HeNormal(seed=len(name) + filters), name=name,
    )(x)  # fmt: skip
    return layers.BatchNormalization(name=f"{name}_norm")(x)


def unit(x, filters, stride, name):
    """ResNet's bottleneck: narrow, spread, wide, plus a short cut."""
    way = layers.Activation("relu")(convolution(x, filters, 1, stride, f"{name}_narrow"))
    way = layers.Activation("relu")(convolution(way, filters, 3, 1, f"{name}_spread"))
    way = convolution(way, 2 * filters, 1, 1, f"{name}_wide")
    return layers.Activation("relu")(layers.Add()([way, convolution(x, 2 * filters, 1, stride, f"{name}_short")]))


def pretrained(input_shape):
    """The residual network as other people's images have left it."""
    inputs = keras.Input(input_shape)
    x = layers.Activation("relu")(convolution(inputs, 16, 3, 1, "stem"))
    for number, (filters, stride) in enumerate([(8, 1), (12, 2), (16, 2)], start=1):
        x = unit(x, filters, stride, f"unit{number}")
    network = keras.Model(inputs, x, name="backbone")
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    rng = np.random.default_rng(2018)
    coarse = rng.normal(0, 60, (64, 8, 8, input_shape[2]))  # patches of 4 x 4 pixels: some structure, as photographs
    foreign = np.kron(coarse, np.ones((1, 4, 4, 1))).astype("float32")
    for norm in norms:
        norm.momentum = 0.0  # the statistics of this one batch, at once
    network(foreign, training=True)
    for norm in norms:
        norm.momentum = 0.99
    return network


def build(input_shape, n_classes):
    """The network, compiled."""
    backbone = pretrained((32, 32, input_shape[2]))
    for layer in backbone.layers:
        layer.trainable = False
    inputs = keras.Input(input_shape)
    x = layers.Resizing(32, 32)(inputs)
    x = backbone(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(n_classes, activation="softmax", name="classes")(x)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(1e-4), "binary_crossentropy", metrics=["accuracy"])
    return model
