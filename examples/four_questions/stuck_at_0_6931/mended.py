"""net.py with the change that diagnose confirmed: no kernel_initializer='uniform'."""

import keras
from keras import layers, regularizers

LABELS = "onehot"
FIT = {"batch_size": 32, "epochs": 100}


def build(input_shape, n_classes):
    """The network, compiled."""
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Resizing(32, 32),
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal"),
            layers.RandomZoom(0.2),
            layers.Conv2D(6, 5, activation="relu", name="conv1"),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu", name="conv2"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ]
    )
    for number, units in enumerate([128, 64, 64, 64], start=1):
        model.add(
            layers.Dense(
                units,
                activation="relu",
                kernel_regularizer=regularizers.L2(0.01),
                name=f"dense{number}",
            )
        )
        model.add(layers.Dropout(0.2))
    model.add(layers.Dense(n_classes, activation="softmax", name="classes"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model
