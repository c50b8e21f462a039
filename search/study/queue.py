"""The order of trials: known-good configurations first, interrupted ones again, each with its place in the study.

A trial's place (user attribute `place`) is its number in everything we write. Optuna's own numbers also count
interrupted trials; places do not, so that a study that was killed five times reads like one that was not.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from spaces.config import Configuration
from spaces.space import Space

PLACE: Final = "place"
REASON: Final = "reason"
START: Final = "start"  # hash of the start configuration
CONFIGURATION: Final = "configuration"  # every field: Optuna's parameters lack those that the space fixes
INTERRUPTED: Final = "interrupted"


class Queue:
    """Hands out places and keeps at least one start configuration waiting while there are any left.

    Start configurations are enqueued one at a time: an interrupted trial, enqueued again at the next start, then
    comes before those that were not yet begun, as it would have undisturbed.

    Args:
        study: the Optuna study.
        storage: that holds it.
        space: turns configurations into Optuna's parameters.
        starts: configurations to try first, in order.
    """

    def __init__(
        self, study: optuna.Study, storage: BaseStorage, space: Space, starts: Sequence[Configuration]
    ) -> None:
        self._study = study
        self._storage = storage
        self._space = space
        self._starts = starts
        self._lock = threading.Lock()

    def resume(self) -> int:
        """Turn trials that a dead process left running into interrupted ones and enqueue them again.

        To be called with the run folder locked: a running trial can then only be a dead one.

        Returns:
            How many trials will be gone on with.
        """
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._interrupt(trial)
        again = self._lost()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if again and trial.user_attrs.get(PLACE, -1) > min(again):  # would come before those that it stood behind
                self._interrupt(trial)
        for place, trial in sorted(self._lost().items()):
            attributes = {PLACE: place, **({START: trial.user_attrs[START]} if START in trial.user_attrs else {})}
            self._study.enqueue_trial(trial.system_attrs.get("fixed_params", trial.params), user_attrs=attributes)
        return len(again)

    def _interrupt(self, trial: FrozenTrial) -> None:
        self._storage.set_trial_user_attr(trial._trial_id, REASON, INTERRUPTED)
        self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _lost(self) -> dict[int, FrozenTrial]:
        """By place: interrupted trials that nobody went on with."""
        trials = self._study.get_trials(deepcopy=False)
        held = {t.user_attrs.get(PLACE) for t in trials if not is_interrupted(t)}
        lost = {t.user_attrs[PLACE]: t for t in trials if is_interrupted(t) and PLACE in t.user_attrs}
        return {place: trial for place, trial in lost.items() if place not in held}

    def refill(self, waiting: int = 1) -> None:
        """Enqueue start configurations until `waiting` trials wait or none is left."""
        with self._lock:
            trials = self._study.get_trials(deepcopy=False)
            queued = sum(t.state == TrialState.WAITING for t in trials)
            begun = {t.user_attrs[START] for t in trials if START in t.user_attrs}
            left = [start for start in self._starts if start.hash not in begun]
            place = _next_place(trials)
            for offset, start in enumerate(left[: max(0, waiting - queued)]):
                attributes = {PLACE: place + offset, START: start.hash}
                self._study.enqueue_trial(self._space.parameters(start), user_attrs=attributes)

    def place(self, trial: optuna.Trial) -> int:
        """The trial's place in the study; to be called when all its parameters are chosen."""
        with self._lock:
            if PLACE not in trial.user_attrs:
                trial.set_user_attr(PLACE, _next_place(self._study.get_trials(deepcopy=False)))
            return int(trial.user_attrs[PLACE])


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether the trial was cut off by the end of a process: it does not count and is tried again."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get(REASON) == INTERRUPTED


def is_done(trial: FrozenTrial) -> bool:
    """Whether the trial counts: it ended, and not by an interruption."""
    return trial.state.is_finished() and not is_interrupted(trial)


def finished(study: optuna.Study) -> int:
    """Number of trials that count."""
    return sum(map(is_done, study.get_trials(deepcopy=False)))


def used_up(study: optuna.Study, trials: int | None) -> bool:
    """Whether the trials asked for are done; never without a number."""
    return trials is not None and finished(study) >= trials


def _next_place(trials: Sequence[FrozenTrial]) -> int:
    return max((t.user_attrs[PLACE] for t in trials if PLACE in t.user_attrs), default=-1) + 1
