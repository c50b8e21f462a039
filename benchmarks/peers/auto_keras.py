"""AutoKeras' image classifier with its own space, ended after the epoch that passes the limit.

Its best network is trained on all images as AutoKeras itself does at the end of a search, for as many epochs as were
best there, three times. It reports a loss, not an accuracy: it promises nothing that a test could be compared with.
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
        tuner, tests = search.tuner, []
        for number in range(3):
            keras.utils.set_random_seed(1000 + number)
            pipeline, model, _ = tuner.final_fit(
                x=arena.train[order],
                y=target,
                batch_size=32,
                epochs=tuner._get_best_trial_epochs(),
                callbacks=[],
                verbose=0,
            )
            said = model.predict(pipeline.transform_x(arena.test), verbose=0)
            if said.shape[1] == 1:
                said = np.concatenate([1 - said, said], axis=1)
            tests.append(arena.scored(said))
        trials = len(tuner.oracle.trials)
    arena.write("autokeras", spent, None, tests, trials=trials)


if __name__ == "__main__":
    main()
