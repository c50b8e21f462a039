"""Optuna's TPE and median pruner over five stratified folds of Keras' `fit`; the limit is Optuna's own `timeout`."""

from __future__ import annotations

import gc

import by_hand
import common
import keras
import numpy as np
import optuna
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, train_test_split


def main() -> None:
    arena = common.arena()
    keras.utils.set_random_seed(arena.seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(arena.seed)
    images, labels = arena.train, arena.labels

    def objective(trial: optuna.Trial) -> float:
        chosen = by_hand.drawn(
            trial.suggest_categorical,
            trial.suggest_int,
            lambda name, low, high, log: trial.suggest_float(name, low, high, log=log),
        )
        scores: list[float] = []
        folds = StratifiedKFold(5, shuffle=True, random_state=arena.seed).split(images, labels)
        for number, (inside, outside) in enumerate(folds):
            keras.backend.clear_session()
            gc.collect()
            model = by_hand.network(chosen, images.shape[1:], len(arena.classes))
            held_out = (images[outside], labels[outside])
            ends = [by_hand.patient(), keras.callbacks.TerminateOnNaN()]
            by_hand.fitted(chosen, model, images[inside], labels[inside], held_out, rng, ends)
            said = model.predict(images[outside], verbose=0).argmax(axis=1)
            scores.append(balanced_accuracy_score(labels[outside], said))
            trial.report(float(np.mean(scores)), number)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(scores))

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=arena.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    study.optimize(objective, timeout=arena.seconds, catch=(Exception,))
    spent = arena.spent
    tests = []
    for number in range(3):
        keras.backend.clear_session()
        keras.utils.set_random_seed(1000 + number)
        inside, outside = train_test_split(np.arange(len(labels)), test_size=0.15, stratify=labels, random_state=number)
        model = by_hand.network(study.best_params, images.shape[1:], len(arena.classes))
        held_out = (images[outside], labels[outside])
        fresh = np.random.default_rng(number)
        by_hand.fitted(study.best_params, model, images[inside], labels[inside], held_out, fresh, [by_hand.patient()])
        tests.append(arena.scored(model.predict(arena.test, verbose=0)))
    arena.write("optuna", spent, study.best_value, tests, trials=len(study.trials), chosen=study.best_params)


if __name__ == "__main__":
    main()
