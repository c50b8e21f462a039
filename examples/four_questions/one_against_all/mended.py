"""net.py with the change that diagnose confirmed: BatchNorm after every convolution."""

import keras
from keras import layers

LABELS = "binary"
FIT = {"batch_size": 4, "epochs": 4}


def pyramid(x):
    """The maxima of 1, 4, 16 and 64 parts of the feature map, side by side."""
    sides = x.shape[1:3]
    pools = [tuple(-(-side // bins) for side in sides) for bins in (1, 2, 4, 8)]
    return layers.Concatenate(name="pyramid")(
        [layers.Flatten()(layers.MaxPooling2D(pool, padding="same")(x)) for pool in pools]
    )


def build(input_shape, n_classes):
    """The network, compiled; one output for two classes."""
    x = inputs = keras.Input(input_shape)
    for block, (filters, depth) in enumerate([(8, 2), (16, 2), (24, 3), (32, 3), (32, 3)], start=1):
        for number in range(1, depth + 1):
            x = layers.Conv2D(filters, 3, padding="same", name=f"conv{block}_{number}")(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.Activation("relu")(x)
        if block < 5:
            x = layers.MaxPooling2D(2)(x)
    x = pyramid(x)
    x = layers.Dense(256, activation="relu", name="dense1")(x)
    x = layers.Dense(256, activation="relu", name="dense2")(x)
    outputs = layers.Dense(1, activation="sigmoid", name="probability")(x)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "binary_crossentropy", metrics=["accuracy"])
    return model
