"""AutoKeras' image classifier with its own space, ended after the epoch that passes the limit; its best model as it is.

It reports a loss, not an accuracy, so it promises nothing that a test could be compared with.
"""

from __future__ import annotations

import tempfile
from typing import Any

import autokeras
import by_hand
import common
import keras
import numpy as np

_dense = keras.layers.Dense.__init__


def _dense_of_int(self: Any, units: Any, *arguments: Any, **more: Any) -> None:
    _dense(self, int(units), *arguments, **more)


keras.layers.Dense.__init__ = _dense_of_int  # AutoKeras 3.0.0 passes a NumPy integer, which Keras 3.15 refuses


def main() -> None:
    arena = common.arena()

    class Limit(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if arena.spent > arena.seconds:
                raise common.TimeUp

    order = np.random.default_rng(arena.seed).permutation(len(arena.labels))
    labels = arena.labels[order]
    target = labels.reshape(-1, 1) if len(arena.classes) == 2 else keras.utils.to_categorical(labels)
    with tempfile.TemporaryDirectory() as place:
        search = autokeras.ImageClassifier(max_trials=100, seed=arena.seed, directory=place, overwrite=True)
        try:
            search.fit(
                arena.train[order], target, epochs=by_hand.EPOCHS, verbose=0, callbacks=[Limit(), by_hand.patient()]
            )
        except common.TimeUp:
            pass
        spent = arena.spent
        said = search.tuner.get_best_model().predict(arena.test, verbose=0)
        if said.shape[1] == 1:
            said = np.concatenate([1 - said, said], axis=1)
        trials = len(search.tuner.oracle.trials)
    arena.write("autokeras", spent, None, [arena.scored(said)], trials=trials)


if __name__ == "__main__":
    main()
