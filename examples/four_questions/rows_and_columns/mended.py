"""net.py with the change that diagnose confirmed: no softmax, as this loss takes it by itself."""

import keras
import tensorflow as tf
from keras import layers

LABELS = "onehot"
FIT = {"batch_size": 6, "epochs": 100}


def build(input_shape, n_classes):
    """The network, compiled."""
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(2, 2, use_bias=False, name="conv"),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(n_classes, name="classes"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.001),
        loss=tf.nn.softmax_cross_entropy_with_logits,
        metrics=["accuracy"],
    )
    return model
