"""What a trial makes of its fits, and what Optuna hears of it."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy as sa

from search.events import SilentListener
from search.fits.runner import StudySetup
from search.optimize.early_stopping import FinishedTrials
from search.optimize.enqueue import TrialQueue
from search.optimize.racing_pruner import search_pruner
from search.optimize.trial import TooManyFailures, TrialRunner
from search.records import FitOutcome, Trial, TrialState, Verdict
from search.storage.ask_tell import optimize
from search.storage.ledger import Ledger
from search.storage.load import read_trials
from search.storage.trial_attributes import count_done, is_interrupted
from search.training.job import FitJob
from search.workers.errors import Stopped, WorkerDied, WorkerError
from spaces.config import Configuration
from spaces.definitions import Fixed
from spaces.presets import CORE
from spaces.space import Space
from tests.factories import configuration
from tests.stand_ins import FakePool, memory, outcome

OptunaState = optuna.trial.TrialState
FIXED: dict[str, Any] = {name: Fixed(value) for name, value in configuration(head="average").as_dict().items()}
SPACE = Space("one", {**FIXED, "learning_rate": CORE.definitions["learning_rate"]})

LEARNED, SOFT, HARD = "learned", "constant-output", "dead-layer"


@dataclass
class Script:
    """Answers fit after fit from a list of reasons; remembers the jobs."""

    lines: list[Any]
    jobs: list[FitJob] = field(default_factory=list)

    def __call__(self, job: FitJob) -> FitOutcome:
        self.jobs.append(job)
        line = self.lines.pop(0)
        if isinstance(line, BaseException):
            raise line
        if isinstance(line, float):
            return right(job, line)
        if line == LEARNED:
            return right(job, 0.8)
        verdict = Verdict.STOPPED if line == "too-slow" else Verdict.COLLAPSED
        return outcome(job, verdict, line, score=0.9, evidence={"top_share": 1.0})


def right(job: FitJob, share: float) -> FitOutcome:
    """A fit whose decisions are right for about this share of each class."""
    labels = (job.val >= 30).astype(int)
    hits = np.zeros(len(labels), bool)
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        hits[own[: round(share * len(own))]] = True
    decided = np.where(hits, labels, 1 - labels)
    probabilities = np.where(np.eye(2)[decided] > 0, 0.9, 0.1).astype(np.float32)
    return outcome(job, score=share, probabilities=probabilities)


class Study:
    """An Optuna study in memory with a scripted worker."""

    def __init__(
        self, storage: optuna.storages.BaseStorage, engine: sa.Engine, setup: StudySetup, lines: Sequence[Any]
    ) -> None:
        self.script = Script(list(lines))
        self.study = optuna.create_study(
            storage=storage,
            study_name="s",
            direction="maximize",
            load_if_exists=True,
            sampler=RandomSampler(seed=0),
            pruner=search_pruner(),
        )
        self.ledger = Ledger(engine, "s")
        self.queue = TrialQueue(self.study, storage, SPACE, ())
        self.queue.resume()
        self.finished = FinishedTrials(setup, read_trials(self.ledger, self.study))
        pool: Any = FakePool(self.script)
        self.stop, self.storage = threading.Event(), storage
        self.objective = TrialRunner(
            setup, SPACE, self.ledger, pool, self.queue, self.finished, SilentListener(), self.stop
        )

    def run(self, trials: int, workers: int = 1) -> list[Trial]:
        begun = itertools.count()
        optimize(
            self.study,
            self.storage,
            self.objective,
            go_on=lambda: not self.stop.is_set() and next(begun) < trials,
            workers=workers,
        )
        return read_trials(self.ledger, self.study)


RandomSampler = optuna.samplers.RandomSampler
MakeStudy = Callable[..., Study]


@pytest.fixture
def make(setup: StudySetup) -> MakeStudy:
    """Studies in the same storage: a second one goes on with the first."""
    storage, engine = optuna.storages.InMemoryStorage(), memory()
    return lambda *lines: Study(storage, engine, setup, lines)


def told(study: Study) -> list[tuple[OptunaState, float | None, list[float]]]:
    """What Optuna knows of each trial."""
    return [
        (t.state, t.values[0] if t.values else None, [t.intermediate_values[s] for s in sorted(t.intermediate_values)])
        for t in study.study.trials
    ]


def test_a_trial_whose_folds_all_learn_is_complete_with_its_pooled_score(make: MakeStudy) -> None:
    study = make(0.7, 0.8, 0.9)
    (trial,) = study.run(1)
    assert (trial.state, trial.reason, [f.fold for f in trial.fits]) == (TrialState.COMPLETE, None, [0, 1, 2])
    ((state, value, steps),) = told(study)
    assert (state, value) == (OptunaState.COMPLETE, pytest.approx(0.8))
    assert steps == pytest.approx([0.7, 0.75, 0.8])  # running means, by folds done


def test_a_soft_collapse_gets_a_second_chance_and_both_count(make: MakeStudy) -> None:
    study = make(0.8, SOFT, 0.9, 0.8)
    (trial,) = study.run(1)
    assert trial.state is TrialState.COMPLETE
    assert [(f.fold, f.attempt, f.verdict) for f in trial.fits] == [
        (0, 0, Verdict.LEARNED),
        (1, 0, Verdict.COLLAPSED),
        (1, 1, Verdict.LEARNED),
        (2, 0, Verdict.LEARNED),
    ]
    assert trial.fits[1].seed != trial.fits[2].seed
    assert told(study)[0][2] == pytest.approx([0.8, (0.8 + (0.5 + 0.9) / 2) / 2, (0.8 + 0.7 + 0.8) / 3])


@pytest.mark.parametrize(
    ("lines", "reason", "fits", "state"),
    [
        ([SOFT, SOFT], SOFT, 2, TrialState.COLLAPSED),
        ([HARD], HARD, 1, TrialState.COLLAPSED),
        ([SOFT, HARD], HARD, 2, TrialState.COLLAPSED),
        ([LEARNED, HARD], HARD, 2, TrialState.COLLAPSED),
        (["non-finite"], "non-finite", 1, TrialState.COLLAPSED),
        (["too-slow"], "too-slow", 1, TrialState.RACED),
    ],
)
def test_a_lost_trial_is_told_as_pruned_with_its_reason(
    lines: list[str], reason: str, fits: int, state: TrialState, make: MakeStudy
) -> None:
    study = make(*lines)
    (trial,) = study.run(1)
    assert (trial.state, trial.reason, len(trial.fits)) == (state, reason, fits)
    assert study.study.trials[0].state is OptunaState.PRUNED  # a FAIL would teach the sampler nothing
    assert study.study.trials[0].user_attrs["reason"] == reason
    assert trial.fits[-1].evidence["top_share"] == 1.0
    if state is TrialState.COLLAPSED:
        assert told(study)[0][2][-1] <= 0.8  # a collapsed fit counts for no more than chance


def test_a_trial_far_behind_is_raced_out(make: MakeStudy) -> None:
    study = make(0.9, 0.9, 0.9, 0.4)
    best, behind = study.run(2)
    assert (best.state, behind.state, len(behind.fits)) == (TrialState.COMPLETE, TrialState.RACED, 1)
    assert behind.reason is not None
    assert "below the worst fold 0.900 of the best trial" in behind.reason
    assert told(study)[1][0] is OptunaState.PRUNED


def test_a_fault_is_tried_again_once(make: MakeStudy) -> None:
    study = make(WorkerError("lost"), LEARNED, LEARNED, WorkerError("lost"), LEARNED)
    (trial,) = study.run(1)
    assert (trial.state, len(trial.fits)) == (TrialState.COMPLETE, 3)
    assert len({job.seed for job in study.script.jobs}) == 3  # the same fit again, not another


def test_a_fault_twice_fails_the_trial_which_is_not_ranked(make: MakeStudy) -> None:
    study = make(
        LEARNED, WorkerError("x"), WorkerError("Traceback:\n  MemoryError: so long" + "g" * 99), *3 * [LEARNED]
    )
    failed, learned = study.run(2)
    assert (failed.state, learned.state) == (TrialState.FAILED, TrialState.COMPLETE)
    assert failed.reason is not None
    assert failed.reason.strip().startswith("MemoryError: so long")
    assert [state for state, *_ in told(study)] == [OptunaState.FAIL, OptunaState.COMPLETE]
    assert list(study.finished.pooled_scores) == [1]
    assert count_done(study.study) == 2  # it is not tried again


def test_what_is_known_to_take_too_long_is_passed_over(make: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(0.7, 0.8, 0.9)
    evidence = {"epoch_seconds": 9.0, "limit_seconds": 30.0}
    monkeypatch.setattr(study.finished, "too_slow", lambda configuration: evidence)
    (trial,) = study.run(1)
    assert (trial.state, trial.reason, study.script.jobs) == (TrialState.RACED, "too-slow", [])
    assert [(f.verdict, f.epochs, f.seconds, f.evidence) for f in trial.fits] == [(Verdict.STOPPED, 0, 0.0, evidence)]
    assert study.study.trials[0].state is OptunaState.PRUNED


def test_a_fit_that_was_trained_is_not_passed_over(make: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    make(0.7, Stopped()).run(1)
    again = make(0.8, 0.9)
    monkeypatch.setattr(again.finished, "too_slow", lambda configuration: {"epoch_seconds": 9.0, "limit_seconds": 30.0})
    (trial,) = again.run(1)
    assert (trial.state, [fit.verdict for fit in trial.fits]) == (TrialState.COMPLETE, [Verdict.LEARNED] * 3)


def test_a_worker_that_dies_of_a_network_teaches_the_sampler(make: MakeStudy) -> None:
    study = make(WorkerDied(-9), WorkerDied(-9))
    (trial,) = study.run(1)
    assert (trial.state, trial.reason) == (TrialState.FAILED, "worker-died")
    assert told(study) == [(OptunaState.PRUNED, None, [])]  # which TPE ranks behind all others


@pytest.mark.parametrize("faults", [(WorkerError("no disk"), WorkerDied(-9)), (WorkerDied(-9), WorkerError("no disk"))])
def test_a_worker_that_died_only_once_says_nothing_of_its_network(make: MakeStudy, faults) -> None:
    """Somebody may have killed it; what else went wrong is told."""
    study = make(*faults)
    (trial,) = study.run(1)
    assert (trial.state, trial.reason) == (TrialState.FAILED, "no disk")
    assert told(study)[0][0] is OptunaState.FAIL


def test_a_worker_that_dies_in_a_later_fold_teaches_the_sampler_too(make: MakeStudy) -> None:
    study = make(LEARNED, WorkerDied(-9), WorkerDied(-9))
    (trial,) = study.run(1)
    assert (trial.state, len(trial.fits)) == (TrialState.FAILED, 2)
    assert told(study)[0][0] is OptunaState.PRUNED


def test_five_failures_in_a_row_end_the_run(make: MakeStudy) -> None:
    study = make(*8 * [WorkerError("no disk")], *3 * [LEARNED], *10 * [WorkerError("no disk")])
    with pytest.raises(TooManyFailures, match="5 trials failed in a row, the last with: no disk"):
        study.run(20)
    assert [trial.state.value for trial in read_trials(study.ledger, study.study)] == [
        *4 * ["failed"],
        "complete",
        *5 * ["failed"],
    ]


def test_an_unexpected_error_ends_the_run_with_several_threads_too(make: MakeStudy) -> None:
    """Every trial that runs then is told to have failed, and no further one begins."""
    study = make(*10 * [OSError("no space left on device")])
    with pytest.raises(OSError, match="no space"):
        study.run(10, workers=2)
    assert 1 <= len(study.study.trials) <= 2
    assert {trial.state for trial in study.study.trials} == {OptunaState.FAIL}


@pytest.mark.parametrize(
    ("died_in", "state", "trained"),
    [
        (8 * [1], TrialState.FAILED, 1),  # a whole container killed for lack of memory, again and again
        (7 * [1], TrialState.COMPLETE, 3),
        (4 * [1] + 7 * [2], TrialState.COMPLETE, 3),  # it came further
        (8 * [0], TrialState.FAILED, 0),
    ],
)
def test_a_trial_that_takes_the_search_down_eight_times_in_one_fold_is_given_up(
    died_in: list[int], state: TrialState, trained: int, make: MakeStudy
) -> None:
    study = make()
    for fold in died_in:
        trial = study.study.ask()
        SPACE.sample(trial)
        study.queue.place(trial)
        for step in range(fold):
            trial.report(0.8, step + 1)
        study = make(LEARNED, LEARNED, LEARNED)  # goes on with what it finds running
    (judged,) = study.run(1)
    assert (judged.state, len(study.script.jobs)) == (state, trained)
    if state is TrialState.FAILED:
        assert judged.reason == judged.fits[-1].reason == "process-lost"
        assert told(study)[-1][0] is OptunaState.PRUNED
        assert count_done(study.study) == 1


def test_ends_in_good_order_are_no_losses(make: MakeStudy) -> None:
    for _ in range(9):
        assert make(Stopped()).run(1) == []
    (judged,) = make(LEARNED, LEARNED, LEARNED).run(1)
    assert judged.state is TrialState.COMPLETE


@pytest.mark.parametrize("end", [Stopped(), KeyboardInterrupt()])
def test_an_interrupted_trial_goes_on_where_it_was(end: BaseException, make: MakeStudy) -> None:
    study = make(LEARNED, SOFT, end)
    if isinstance(end, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            study.run(5)
    else:
        assert study.run(5) == []  # and the search is over
    assert (count_done(study.study), is_interrupted(study.study.trials[0])) == (0, True)
    again = make(0.9, 0.8)
    (trial,) = again.run(1)
    assert (trial.number, trial.state, len(trial.fits)) == (0, TrialState.COMPLETE, 4)
    asked = [(job.seed, job.configuration) for job in again.script.jobs]
    assert [seed for seed, _ in asked] == [trial.fits[2].seed, trial.fits[3].seed]
    assert {one for _, one in asked} == {study.script.jobs[0].configuration}


def test_the_same_network_again_trains_nothing(make: MakeStudy) -> None:
    study = make(0.8, 0.7, 0.9)
    study.run(1)
    study.study.enqueue_trial(study.study.trials[0].params)
    first, second = study.run(1)
    assert (second.number, second.state) == (1, TrialState.COMPLETE)
    assert [f.key for f in first.fits] == [f.key for f in second.fits]
    assert told(study)[0] == told(study)[1]


def test_no_number_that_is_none_reaches_optuna(make: MakeStudy) -> None:
    """Optuna would take +inf for the best trial, and NaN for a failure."""

    def nothing(job: FitJob, score: float) -> FitOutcome:
        return outcome(job, score=score, probabilities=np.full((len(job.val), 2), np.nan, np.float32))

    study = make()
    scores = iter([math.nan, math.inf, -math.inf])
    study.objective._pool.one.answer = lambda job: nothing(job, next(scores))  # type: ignore[attr-defined]
    (trial,) = study.run(1)
    assert trial.state is TrialState.COMPLETE
    ((state, value, steps),) = told(study)
    assert state is OptunaState.COMPLETE
    assert value is not None
    assert all(math.isfinite(number) for number in (value, *steps))
    assert study.finished.best_score is not None
    assert math.isfinite(study.finished.best_score)


def test_a_fit_is_seeded_by_what_it_is(make: MakeStudy, setup: StudySetup) -> None:
    """By root, configuration, fold and attempt; not by when it runs."""
    study = make(*2 * [0.8, 0.7, 0.9])
    first, second = study.run(2)
    other = Study(optuna.storages.InMemoryStorage(), memory(), setup, [0.8, 0.7, 0.9])
    other.study.enqueue_trial(study.study.trials[1].params)
    (alone,) = other.run(1)
    assert [f.seed for f in alone.fits] == [f.seed for f in second.fits]
    assert [f.key for f in alone.fits] == [f.key for f in second.fits]
    assert not {f.key for f in first.fits} & {f.key for f in second.fits}


def test_a_job_says_what_the_rules_need(make: MakeStudy, setup: StudySetup) -> None:
    study = make(*3 * [0.8])
    study.run(1)
    for fold, job in zip(setup.folds, study.script.jobs, strict=True):
        assert job.train.tolist() == fold.train.tolist()
        assert job.val.tolist() == fold.val.tolist()
        assert (job.context.epochs, job.context.imbalance, job.context.batchnorm) == (30, 1.0, False)
        assert job.context.updates_per_epoch == 40 // 16
        assert job.context.prior_entropy == pytest.approx(math.log(2))
        assert isinstance(job.configuration, Configuration)


def test_what_a_later_trial_adds_to_a_network_is_not_an_earlier_ones(make: MakeStudy) -> None:
    """Read back, the raced trial has the fits that it had, or racing would go another way after an interruption."""
    study = make(0.9, 0.9, 0.9, 0.4)
    study.run(2)
    *_, raced = study.ledger.fits()
    study.ledger.write(replace(raced, key="later", fold=1, trial=2))
    assert [len(trial.fits) for trial in read_trials(study.ledger, study.study)] == [3, 1]
