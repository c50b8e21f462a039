"""The order of trials: known-good configurations first, interrupted ones again, each with its place in the study.

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
        self._next: int | None = None  # place; read from the study once
        self._has_begun_all = False

    def resume(self) -> int:
        """Turn trials that a dead process left running into interrupted ones and enqueue them again.

        To be called with the run folder locked: a running trial can then only be a dead one.

        Returns:
            How many trials will be gone on with.
        """
        died = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in died:
            self._interrupt(trial)
        again = self._lost()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if again and trial.user_attrs.get(PLACE, -1) > min(again):  # would come before those that it stood behind
                self._interrupt(trial)
        numbers = {trial.number for trial in died}
        for place, trial in sorted(self._lost().items()):
            _go_on_with(self._study, trial, place, died=trial.number in numbers)
        return len(again)

    def _interrupt(self, trial: FrozenTrial) -> None:
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
            if self._has_begun_all:
                return
            trials = self._study.get_trials(deepcopy=False)
            queued = sum(t.state == TrialState.WAITING for t in trials)
            begun = {t.user_attrs[START] for t in trials if START in t.user_attrs}
            left = [start for start in self._wanted(trials) if start.hash not in begun]
            for start in left[: max(0, waiting - queued)]:
                attributes = {PLACE: self._next_place(), START: start.hash}
                self._study.enqueue_trial(self._space.parameters(start), user_attrs=attributes)
            self._has_begun_all = not left and not self._space.backbones  # with some, trials bring new ones

    def _wanted(self, trials: Sequence[FrozenTrial]) -> list[Configuration]:
        """To be tried sooner or later, in order, begun ones too."""
        if not self._space.backbones:
            return list(self._starts)
        done = sorted((t for t in trials if is_done(t) and CONFIGURATION in t.user_attrs), key=place_of)
        judged = [
            JudgedTrial(trial.user_attrs[CONFIGURATION], trial.value if trial.state == TrialState.COMPLETE else None)
            for trial in done
        ]
        return [*self._starts, *finetune_candidates(judged, self._space)]

    def waits(self) -> bool:
        """Whether a trial is waiting to be taken."""
        return bool(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def lacks(self) -> bool:
        """Whether places are left that nobody has taken."""
        return False

    def place(self, trial: optuna.Trial) -> int:
        """The trial's place in the study; to be called when all its parameters are chosen."""
        with self._lock:
            if PLACE not in trial.user_attrs:
                trial.set_user_attr(PLACE, self._next_place())
            return int(trial.user_attrs[PLACE])

    def _next_place(self) -> int:
        """A place that nobody had. Only this queue gives any, with its lock held: looked up once."""
        if self._next is None:
            trials = self._study.get_trials(deepcopy=False)
            self._next = max((t.user_attrs[PLACE] for t in trials if PLACE in t.user_attrs), default=-1) + 1
        self._next += 1
        return self._next - 1


class SharedTrialQueue(TrialQueue):
    """The order where several hosts work on one study.

    A trial's place is Optuna's number, which the database gives out; one that is gone on with keeps that of its first
    try. What several hosts may do at the same time, each of them does: of two trials for one place, or of one start
    configuration, the first to be enqueued is run and the other is surplus. So is what goes beyond the trials asked
    for.

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
        """Enqueue again what was lost with a host. What runs may run elsewhere.

        Returns:
            How many trials will be gone on with.
        """
        for trial in fail_stale_trials(self._study, self._storage):
            requeue_lost(self._study, trial)
        lost = self._lost()
        for place, trial in sorted(lost.items()):
            _go_on_with(self._study, trial, place, died=False)
        return len(lost)

    def lacks(self) -> bool:
        """As on one host: a trial that was lost before it had a place left one."""
        trials = self._study.get_trials(deepcopy=False)
        held = {place_of(trial) for trial in trials if not is_interrupted(trial)}
        return self._trials is not None and len(held) < self._trials

    def refill(self, waiting: int = 1) -> None:
        """Enqueue start configurations until `waiting` trials wait or none is left."""
        with self._lock:
            trials = self._study.get_trials(deepcopy=False)
            queued = sum(t.state == TrialState.WAITING for t in trials)
            begun = {t.user_attrs[START] for t in trials if START in t.user_attrs and not is_interrupted(t)}
            left = [start for start in self._wanted(trials) if start.hash not in begun]
            for start in left[: max(0, waiting - queued)]:
                self._study.enqueue_trial(self._space.parameters(start), user_attrs={START: start.hash})

    def place(self, trial: optuna.Trial) -> int:
        """As on one host.

        Raises:
            SurplusTrial: another trial stands for this one, or there are enough.
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
    """Enqueue a trial whose host was lost, so that another host goes on with it; none that had no place yet."""
    if PLACE in trial.user_attrs:
        _go_on_with(study, trial, place_of(trial), died=True)


class SurplusTrial(Exception):
    """The trial is one too many.

    Args:
        is_enough: as many trials as were asked for are begun, so that no further ones are needed.
    """

    def __init__(self, *, is_enough: bool = False) -> None:
        super().__init__()
        self.is_enough = is_enough


def _go_on_with(study: optuna.Study, trial: FrozenTrial, place: int, *, died: bool) -> None:
    """Enqueue a trial that was cut off, for its place; `died`: with its process, not in good order."""
    kept: dict[str, Any] = {name: trial.user_attrs[name] for name in (START, LOSSES) if name in trial.user_attrs}
    if died:
        fold = len(trial.intermediate_values)
        losses, before = kept.get(LOSSES, (0, fold))
        kept[LOSSES] = (losses + 1 if before == fold else 1, fold)
    study.enqueue_trial(trial.system_attrs.get("fixed_params", trial.params), user_attrs={PLACE: place, **kept})
