"""Places, start configurations one at a time, and going on after an end at any moment."""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import replace
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from search.events import SilentListener
from search.fits.runner import StudySetup
from search.optimize.early_stopping import FinishedTrials
from search.optimize.enqueue import TrialQueue
from search.optimize.racing_pruner import search_pruner
from search.optimize.sampler import SteadySampler
from search.optimize.trial import TrialRunner
from search.storage.ask_tell import optimize
from search.storage.ledger import Ledger
from search.storage.load import read_trials
from search.storage.trial_attributes import CONFIGURATION, PLACE, STATE, count_done, is_interrupted
from spaces.config import Configuration
from spaces.definitions import Choices, Fixed, Range
from spaces.presets import CORE
from tests.factories import configuration
from tests.stand_ins import FakePool, memory

SPACE = CORE.changed(
    {
        "depth": Range(2, 5),
        "dense_ratio": Fixed(0.5),
        "initializer": Fixed("he_normal"),
        "dropout": Fixed(0.1),
        "class_weighting": Fixed("none"),
        "oversampling": Choices(("none", "balanced")),
        "batch_size": Fixed(16),
        "input_scaling": Fixed("unit"),
        "learning_rate": Range(1e-4, 1e-2, log=True),
    }
)
STARTS = [configuration(depth=depth, dense_ratio=0.5, head="average") for depth in (2, 3, 4)]


Storage = optuna.storages.BaseStorage


@pytest.fixture
def storage() -> Storage:
    return optuna.storages.InMemoryStorage()


class Killed(BaseException):
    """As kill -9: no `except Exception` sees it, and the trial stays as it stands in the database."""


def study_in(storage: Storage) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        study_name="s",
        load_if_exists=True,
        direction="maximize",
        sampler=SteadySampler(0),
        pruner=search_pruner(),
    )


def go_on(storage: Storage, engine: sa.Engine, setup: StudySetup, trials: int) -> list[tuple[Any, ...]]:
    """One session; returns what the study holds at its end."""
    study, ledger = study_in(storage), Ledger(engine, "s")
    queue = TrialQueue(study, storage, SPACE, STARTS)
    queue.resume()
    queue.refill()
    finished = FinishedTrials(setup, read_trials(ledger, study))
    stop, begun, left = threading.Event(), itertools.count(), trials - count_done(study)
    runner = TrialRunner(setup, SPACE, ledger, FakePool(), queue, finished, SilentListener(), stop)
    optimize(study, storage, runner, go_on=lambda: next(begun) < left, after_trial=queue.refill)
    return [
        (t.number, t.state, t.configuration, t.reason, [(f.key, f.trial, f.verdict, f.score) for f in t.fits])
        for t in read_trials(ledger, study)
    ]


@pytest.mark.study
def test_a_study_killed_at_any_commit_equals_an_undisturbed_one(storage: Storage, setup: StudySetup) -> None:
    setup = replace(setup, seed=2)  # by chance, all that can happen to a trial happens soon
    trials = 14  # TPE draws at random until ten are count_done
    undisturbed = go_on(optuna.storages.InMemoryStorage(), memory(), setup, trials)
    assert [row[0] for row in undisturbed] == list(range(trials))
    assert {"complete", "collapsed", "raced", "failed"} <= {row[1] for row in undisturbed}
    storage = optuna.storages.RDBStorage("sqlite://")
    engine = storage.engine
    study, _ = study_in(storage), Ledger(engine, "s")
    left, kills, struck, draw = 0, 0, 0, random.Random(1)

    def on_commit(connection: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            connection.connection.rollback()
            raise Killed

    sa.event.listen(engine, "commit", on_commit)
    while True:
        left = draw.randint(0, 75)
        try:
            disturbed = go_on(storage, engine, setup, trials)
            break
        except Killed:
            kills, left = kills + 1, 10**9
            struck += storage.get_n_trials(study._study_id, TrialState.RUNNING)
    assert kills > 10
    assert struck > 5  # in the middle of trials
    assert disturbed == undisturbed


def test_what_waits_behind_an_interrupted_trial_stays_behind_it(storage: Storage) -> None:
    study = study_in(storage)
    queue = TrialQueue(study, storage, SPACE, STARTS)
    queue.refill(waiting=3)
    first = study.ask()  # and the process dies
    assert queue.place(first) == 0
    assert TrialQueue(study_in(storage), storage, SPACE, STARTS).resume() == 1
    again = [study_in(storage).ask() for _ in range(3)]
    assert [trial.user_attrs[PLACE] for trial in again] == [0, 1, 2]
    assert [SPACE.sample(trial).hash for trial in again] == [start.hash for start in STARTS]


def test_a_dead_trial_is_gone_on_with_as_it_was_drawn(storage: Storage) -> None:
    study = study_in(storage)
    trial = study.ask()
    drawn = SPACE.sample(trial)
    assert TrialQueue(study, storage, SPACE, ()).place(trial) == 0
    queue = TrialQueue(study_in(storage), storage, SPACE, ())
    assert (queue.resume(), queue.resume()) == (1, 0)  # once is enough
    dead, waiting = study_in(storage).trials
    assert (dead.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    assert is_interrupted(dead)
    assert count_done(study) == 0
    assert SPACE.sample(study_in(storage).ask()) == drawn


def test_a_trial_that_died_before_it_had_a_place_is_forgotten(storage: Storage) -> None:
    study = study_in(storage)
    study.ask().suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    queue = TrialQueue(study, storage, SPACE, ())
    assert queue.resume() == 0
    assert queue.place(study.ask()) == 0


def test_start_configurations_are_enqueued_one_at_a_time_and_once_each(storage: Storage) -> None:
    study = study_in(storage)
    seen = []
    for _ in range(5):
        queue = TrialQueue(study, storage, SPACE, STARTS)
        queue.refill()
        queue.refill()
        assert sum(t.state == TrialState.WAITING for t in study.trials) == (len(seen) < 3)
        trial = study.ask()
        seen.append(SPACE.sample(trial).hash)
        assert queue.place(trial) == len(seen) - 1
        study.tell(trial, 0.5)
    assert seen[:3] == [start.hash for start in STARTS]


def test_a_start_added_or_moved_later_is_still_tried(storage: Storage) -> None:
    study = study_in(storage)
    for starts in (STARTS[:1], [STARTS[2], STARTS[0]]):
        queue = TrialQueue(study, storage, SPACE, starts)
        queue.refill(waiting=2)
    assert [SPACE.sample(study.ask()).hash for _ in range(2)] == [STARTS[0].hash, STARTS[2].hash]


def test_a_broken_network_is_not_proposed_again_and_again(storage: Storage) -> None:
    """A failed trial tells TPE nothing, but the next proposal is another."""
    study = study_in(storage)
    hashes = []
    for _ in range(3):
        trial = study.ask()
        hashes.append(SPACE.sample(trial).hash)
        trial.set_user_attr(STATE, "failed")
        study.tell(trial, state=TrialState.FAIL)
    assert len(set(hashes)) == 3


def test_a_trial_keeps_its_whole_configuration(storage: Storage, setup: StudySetup) -> None:
    """Optuna never hears of what a space fixes."""
    engine = memory()
    go_on(storage, engine, setup, 4)
    study = study_in(storage)
    kept = [Configuration(**trial.user_attrs[CONFIGURATION]) for trial in study.trials if trial.state.is_finished()]
    read = [trial.configuration for trial in read_trials(Ledger(engine, "s"), study)]
    assert kept == read
    assert [one.hash for one in read[:3]] == [start.hash for start in STARTS]
    assert all(trial.fits for trial in read_trials(Ledger(engine, "s"), study))


@pytest.mark.parametrize("values", [(0.9, 0.1), (0.1, 0.9)])
def test_proposals_depend_on_the_seed_and_the_finished_trials_only(values: tuple[float, float]) -> None:
    def proposal(seed: int, *, disturbed: bool, told: tuple[float, float] = values) -> dict[str, Any]:
        study = optuna.create_study(direction="maximize", sampler=SteadySampler(seed))
        for number in range(12):
            if disturbed and number % 3 == 0:  # an interrupted one between
                lost = study.ask()
                lost.suggest_float("x", 0, 1)
                study.tell(lost, state=TrialState.FAIL)
                study.sampler = SteadySampler(seed)
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            study.tell(trial, told[trial.params["x"] > 0.5])
        last = study.ask()
        last.suggest_float("x", 0, 1)
        return last.params

    assert proposal(3, disturbed=True) == proposal(3, disturbed=False)
    assert proposal(3, disturbed=False) != proposal(4, disturbed=False)
    assert proposal(3, disturbed=False) != proposal(3, disturbed=False, told=values[::-1])
