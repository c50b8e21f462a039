"""KerasTuner's Hyperband over the same space, on a stratified fifth; ended after the trial that passes the limit."""

from __future__ import annotations

import tempfile
from typing import Any

import by_hand
import common
import keras
import keras_tuner
import numpy as np
from sklearn.model_selection import train_test_split


def main() -> None:
    arena = common.arena()
    keras.utils.set_random_seed(arena.seed)
    images, labels = arena.train, arena.labels
    inside, outside = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=arena.seed)
    rng = np.random.default_rng(arena.seed)

    class ByHand(keras_tuner.HyperModel):
        def build(self, hp: Any) -> keras.Model:
            chosen = by_hand.drawn(
                hp.Choice,
                hp.Int,
                lambda name, low, high, log: hp.Float(name, low, high, sampling="log" if log else "linear"),
            )
            return by_hand.network(chosen, images.shape[1:], len(arena.classes))

        def fit(self, hp: Any, model: keras.Model, callbacks: list[Any], epochs: int, **more: Any) -> Any:
            held_out = (images[outside], labels[outside])
            return by_hand.fitted(
                hp.values, model, images[inside], labels[inside], held_out, rng, callbacks, epochs, **more
            )

    class Timed(keras_tuner.Hyperband):
        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            if arena.spent > arena.seconds:
                raise common.TimeUp

    with tempfile.TemporaryDirectory() as place:
        tuner = Timed(
            ByHand(),
            objective=keras_tuner.Objective("val_balanced_accuracy", "max"),
            max_epochs=by_hand.EPOCHS,
            factor=3,
            hyperband_iterations=20,
            seed=arena.seed,
            directory=place,
            project_name="search",
        )
        try:
            tuner.search(verbose=0, callbacks=[by_hand.patient(restore=False)])
        except common.TimeUp:
            pass
        spent = arena.spent
        best = tuner.oracle.get_best_trials(1)[0]
    tests = []
    for number in range(3):
        keras.backend.clear_session()
        keras.utils.set_random_seed(1000 + number)
        rng = np.random.default_rng(number)
        inside, outside = train_test_split(np.arange(len(labels)), test_size=0.15, stratify=labels, random_state=number)
        net = ByHand()
        model = net.build(best.hyperparameters)
        net.fit(best.hyperparameters, model, [by_hand.patient()], by_hand.EPOCHS)
        tests.append(arena.scored(model.predict(arena.test, verbose=0)))
    arena.write(
        "kerastuner", spent, best.score, tests, trials=len(tuner.oracle.trials), chosen=best.hyperparameters.values
    )


if __name__ == "__main__":
    main()
