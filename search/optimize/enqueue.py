"""Order of the trials: known-good configurations first, interrupted trials again, each with its place in the study.

A trial's place (user attribute `place`) is its number in everything we write. Optuna's own numbers also count
interrupted trials; places do not, so that a study that was killed five times reads like one that was not.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search.optimize.finetune import JudgedTrial, finetune_candidates
from search.storage.ask_tell import fail_stale_trials
from search.storage.trial_attributes import CONFIGURATION, LOSSES, PLACE, START, is_done, is_interrupted, place_of
from spaces.config import Configuration
from spaces.space import Space


class TrialQueue:
    """Gives trials their places, and keeps the next start configurations waiting in Optuna's queue.

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
        self._study, self._storage, self._space, self._starts = study, storage, space, starts
        self._lock = threading.Lock()
        self._next: int | None = None  # place; read from the study once
        self._has_begun_all = False

    def resume(self) -> int:
        """Turn trials that a dead process left running into interrupted ones, and enqueue these again.

        To be called with the run folder locked: a running trial can then only be a dead one.

        Returns:
            The number of interrupted trials that will be continued.
        """
        died = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in died:
            self._interrupt(trial)
        again = self._interrupted()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if again and trial.user_attrs.get(PLACE, -1) > min(again):  # would come before those that it stood behind
                self._interrupt(trial)
        numbers = {trial.number for trial in died}
        for place, trial in sorted(self._interrupted().items()):
            _enqueue_again(self._study, trial, place, died=trial.number in numbers)
        return len(again)

    def _interrupt(self, trial: FrozenTrial) -> None:
        self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _interrupted(self) -> dict[int, FrozenTrial]:
        """Interrupted trials that were not enqueued again, by place."""
        trials = self._study.get_trials(deepcopy=False)
        taken = {t.user_attrs.get(PLACE) for t in trials if not is_interrupted(t)}
        interrupted = {t.user_attrs[PLACE]: t for t in trials if is_interrupted(t) and PLACE in t.user_attrs}
        return {place: trial for place, trial in interrupted.items() if place not in taken}

    def refill(self, waiting: int = 1) -> None:
        """Enqueue start configurations until `waiting` trials wait or none is left."""
        with self._lock:
            if self._has_begun_all:
                return
            trials = self._study.get_trials(deepcopy=False)
            queued = sum(t.state == TrialState.WAITING for t in trials)
            begun = {t.user_attrs[START] for t in trials if START in t.user_attrs}
            left = [start for start in self._to_try(trials) if start.hash not in begun]
            for start in left[: max(0, waiting - queued)]:
                attributes = {PLACE: self._next_place(), START: start.hash}
                self._study.enqueue_trial(self._space.parameters(start), user_attrs=attributes)
            self._has_begun_all = not left and not self._space.backbones  # with some, trials bring new ones

    def _to_try(self, trials: Sequence[FrozenTrial]) -> list[Configuration]:
        """Configurations to be enqueued sooner or later, in order, with those that have begun."""
        if not self._space.backbones:
            return list(self._starts)
        done = sorted((t for t in trials if is_done(t) and CONFIGURATION in t.user_attrs), key=place_of)
        judged = [
            JudgedTrial(trial.user_attrs[CONFIGURATION], trial.value if trial.state == TrialState.COMPLETE else None)
            for trial in done
        ]
        return [*self._starts, *finetune_candidates(judged, self._space)]

    def has_waiting(self) -> bool:
        """Whether a trial waits in Optuna's queue."""
        return bool(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def has_free_places(self) -> bool:
        """Whether there are places that no trial has: never on one host, where they are given out one by one."""
        return False

    def place(self, trial: optuna.Trial) -> int:
        """The trial's place in the study, given to it if it has none; call it when all its parameters are chosen."""
        with self._lock:
            if PLACE not in trial.user_attrs:
                trial.set_user_attr(PLACE, self._next_place())
            return int(trial.user_attrs[PLACE])

    def _next_place(self) -> int:
        """A place that no trial had. Only this queue gives places, with its lock held: the study is read once."""
        if self._next is None:
            trials = self._study.get_trials(deepcopy=False)
            self._next = max((t.user_attrs[PLACE] for t in trials if PLACE in t.user_attrs), default=-1) + 1
        self._next += 1
        return self._next - 1


class SharedTrialQueue(TrialQueue):
    """The queue of a study that several hosts work on.

    A trial's place is Optuna's number, which the database gives out; a trial that is continued keeps the place of its
    first try. What several hosts may do at the same time, each of them does: of two trials for one place, or of one
    start configuration, the first to be enqueued is run and the other is surplus. So is what goes beyond the trials
    asked for.

    Args:
        study: the Optuna study.
        storage: that holds it.
        space: turns configurations into Optuna's parameters.
        starts: configurations to try first, in order.
        trials: asked for, of all hosts together; None without a limit.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        space: Space,
        starts: Sequence[Configuration],
        trials: int | None,
    ) -> None:
        super().__init__(study, storage, space, starts)
        self._trials = trials

    def resume(self) -> int:
        """Enqueue again the trials that were lost with a host. What runs may run elsewhere, and is left alone.

        Returns:
            The number of trials that will be continued.
        """
        for trial in fail_stale_trials(self._study, self._storage):
            requeue_lost(self._study, trial)
        interrupted = self._interrupted()
        for place, trial in sorted(interrupted.items()):
            _enqueue_again(self._study, trial, place, died=False)
        return len(interrupted)

    def has_free_places(self) -> bool:
        """Whether fewer places are taken than trials were asked for: a trial lost before it had a place leaves one."""
        trials = self._study.get_trials(deepcopy=False)
        taken = {place_of(trial) for trial in trials if not is_interrupted(trial)}
        return self._trials is not None and len(taken) < self._trials

    def refill(self, waiting: int = 1) -> None:
        """Enqueue start configurations until `waiting` trials wait or none is left.

        A start configuration whose trial was lost before it had a place is enqueued again: `resume` does not.
        """
        with self._lock:
            trials = self._study.get_trials(deepcopy=False)
            queued = sum(t.state == TrialState.WAITING for t in trials)
            begun = {t.user_attrs[START] for t in trials if START in t.user_attrs and not is_interrupted(t)}
            left = [start for start in self._to_try(trials) if start.hash not in begun]
            for start in left[: max(0, waiting - queued)]:
                self._study.enqueue_trial(self._space.parameters(start), user_attrs={START: start.hash})

    def place(self, trial: optuna.Trial) -> int:
        """The trial's place in the study, its number or that of its first try.

        Raises:
            SurplusTrial: another trial has its place or start configuration, or enough trials have begun.
        """
        place = int(trial.user_attrs.get(PLACE, trial.number))
        others = [
            other
            for other in self._study.get_trials(deepcopy=False)
            if other.number != trial.number and not is_interrupted(other)
        ]
        start = trial.user_attrs.get(START)
        for other in others:
            same = place_of(other) == place or (start is not None and other.user_attrs.get(START) == start)
            if same and other.number < trial.number:
                raise SurplusTrial
        before = {place_of(other) for other in others if place_of(other) < place}
        if self._trials is not None and len(before) >= self._trials:
            raise SurplusTrial(is_enough=True)
        trial.set_user_attr(PLACE, place)
        return place


def requeue_lost(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueue a trial whose host was lost, so that another host continues it; one that had no place yet is dropped."""
    if PLACE in trial.user_attrs:
        _enqueue_again(study, trial, place_of(trial), died=True)


class SurplusTrial(Exception):
    """The trial is one too many.

    Args:
        is_enough: as many trials as were asked for have begun, so that no further ones are needed.
    """

    def __init__(self, *, is_enough: bool = False) -> None:
        super().__init__()
        self.is_enough = is_enough


def _enqueue_again(study: optuna.Study, trial: FrozenTrial, place: int, *, died: bool) -> None:
    """Enqueue a trial that was cut off, for its place; `died`: with its process, not in an orderly end."""
    attributes: dict[str, Any] = {name: trial.user_attrs[name] for name in (START, LOSSES) if name in trial.user_attrs}
    if died:
        fold = len(trial.intermediate_values)
        losses, before = attributes.get(LOSSES, (0, fold))
        attributes[LOSSES] = (losses + 1 if before == fold else 1, fold)
    study.enqueue_trial(trial.system_attrs.get("fixed_params", trial.params), user_attrs={PLACE: place, **attributes})
