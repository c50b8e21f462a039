"""Six images of 3 x 3 pixels, and a network that gives the same answer for all of them.

After the fourth question: two 2x2 filters without bias, ReLU, softmax, and a loss of TensorFlow's own that expects
logits instead of probabilities; plain SGD with a rate of 0.001, 100 epochs of one batch, pixels of 0 and 255.
"""

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
            layers.Activation("softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.001),
        loss=tf.nn.softmax_cross_entropy_with_logits,
        metrics=["accuracy"],
    )
    return model
