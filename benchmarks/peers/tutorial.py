"""Keras' guide "Transfer learning & fine-tuning" with our file of weights: EfficientNet-Lite0, frozen, then fine-tuned.

As in the guide: random flips left to right and rotations, the backbone in inference mode, mean of its last feature map,
dropout .2 and one dense layer, Adam; then the whole network at 1e-5. As it leaves the number of epochs to the reader:
both parts end early by the loss on 15 % of the images, the first after half of the seconds at the latest. Runs in our
own environment; the imports count.
"""

from __future__ import annotations

from typing import Any

import by_hand
import common
import keras
from sklearn.model_selection import train_test_split

from search.data.weight_files import find_weights
from search.training.backbones import build_backbone

NAME = "efficientnet_lite0"
BATCH = 32


def main() -> None:
    arena = common.arena(imports_count=True)
    keras.utils.set_random_seed(arena.seed)
    rows = range(len(arena.labels))
    inside, outside = train_test_split(rows, test_size=0.15, stratify=arena.labels, random_state=arena.seed)

    class Limit(keras.callbacks.Callback):
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if arena.spent > self.seconds:
                self.model.stop_training = True

    backbone = build_backbone(NAME, 3, find_weights("auto", [NAME])[NAME].path)
    backbone.trainable = False
    images = keras.Input(arena.train.shape[1:])
    x = keras.layers.RandomFlip("horizontal")(images)
    x = keras.layers.RandomRotation(0.1)(x)
    x = keras.layers.GlobalAveragePooling2D()(backbone(x, training=False))
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(images, keras.layers.Dense(len(arena.classes), activation="softmax")(x))

    epochs = []
    for rate, limit in ((1e-3, arena.seconds / 2), (1e-5, arena.seconds)):
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        history = model.fit(
            arena.train[inside],
            arena.labels[inside],
            batch_size=BATCH,
            epochs=by_hand.EPOCHS,
            validation_data=(arena.train[outside], arena.labels[outside]),
            callbacks=[by_hand.patient(), Limit(limit)],
            verbose=0,
        )
        epochs.append(len(history.epoch))
        backbone.trainable = True
    spent = arena.spent
    arena.write("tutorial", spent, None, [arena.scored(model.predict(arena.test, verbose=0))], epochs=epochs)


if __name__ == "__main__":
    main()
