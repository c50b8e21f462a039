"""Parameters of a trial in one transaction, trials as plain rows: the same study as by Optuna's own storage."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from search.storage.database import close, open_storage

pytestmark = pytest.mark.usefixtures("known_migrations")

NAMES = [f"x{number}" for number in range(20)]


def objective(trial: optuna.Trial) -> float:
    """Of each kind of parameter one, and of each kind of end."""
    x, k = trial.suggest_float("x", 1e-3, 1.0, log=True), trial.suggest_int("k", 1, 9)
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        trial.suggest_float("only_a", 0.0, 1.0)
    if trial.number == 1:
        raise RuntimeError
    trial.set_user_attr("told", [x, k])
    trial.report(x, step=1)
    if trial.number == 2:
        raise optuna.TrialPruned
    return x * trial.suggest_float("late", 0.5, 1.0)


def of_study(storage: optuna.storages.RDBStorage) -> list[FrozenTrial]:
    """What a study of nine trials, of which one runs and one waits, is to whoever opens it later."""
    study = optuna.create_study(storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(0))
    study.enqueue_trial({"x": 0.5, "k": 3}, user_attrs={"start": True})
    study.optimize(objective, n_trials=6, catch=RuntimeError)
    study.tell(study.ask(), float("inf"))
    running = study.ask()
    study.enqueue_trial({"x": 0.25})
    other = optuna.load_study(storage=storage, study_name="s")
    assert len(other.get_trials()) == 9
    running.suggest_int("k", 1, 9)
    running.report(0.5, step=3)
    running.report(float("-inf"), step=1)
    trials = other.get_trials()  # now only what was not finished is read again
    assert trials == optuna.load_study(storage=storage, study_name="s").get_trials()
    assert trials[7] == storage.get_trial(trials[7]._trial_id)
    waiting = other.get_trials(states=(TrialState.WAITING,))
    assert waiting == [trials[8]] == storage.get_all_trials(other._study_id, states=(TrialState.WAITING,))
    for trial in trials:
        assert (trial.datetime_start is None) is (trial.state is TrialState.WAITING)
        assert trial.datetime_start is None or abs(trial.datetime_start - datetime.now()) < timedelta(minutes=5)
        assert (trial.datetime_complete is None) is not trial.state.is_finished()
        trial.datetime_start = trial.datetime_complete = None
    return trials


def test_a_study_is_the_same_as_in_optuna_s_own_storage(tmp_path: Path) -> None:
    ours, theirs = open_storage(tmp_path), optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/theirs.db")
    try:
        assert of_study(ours) == of_study(theirs)
    finally:
        close(ours)
        close(theirs)


@pytest.fixture
def storage(tmp_path: Path) -> Any:
    """With a study of one trial, whose parameters are known therefore."""
    opened = open_storage(tmp_path)
    study = optuna.create_study(storage=opened, study_name="s", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda trial: float(sum(trial.suggest_float(name, 0, 1) for name in NAMES)), n_trials=1)
    yield opened
    close(opened)


def test_a_trial_that_is_not_there_is_told_as_optuna_tells_it(storage: Any) -> None:
    with pytest.raises(KeyError, match="Record does not exist"):
        storage.get_trial(99)
    with pytest.raises(KeyError):
        storage.get_all_trials(99)


def kept(storage: optuna.storages.RDBStorage) -> dict[str, Any]:
    """Parameters of the second trial, as another process finds them."""
    with storage.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT param_name, param_value FROM trial_params JOIN trials USING (trial_id) WHERE number = 1"
        )
        return dict(tuple(row) for row in rows)


def test_parameters_wait_for_the_next_write_and_are_there_then(storage: Any) -> None:
    trial = optuna.load_study(storage=storage, study_name="s").ask()
    for name in NAMES:
        trial.suggest_float(name, 0, 1)
    assert kept(storage) == {}
    trial.set_user_attr("configuration", "whole")
    assert kept(storage) == trial.params
    assert list(trial.params) == NAMES


@pytest.mark.parametrize("write", ["user_attr", "system_attr", "report", "tell", "read"])
def test_whatever_is_told_or_asked_of_the_trial_comes_after_its_parameters(storage: Any, write: str) -> None:
    study = optuna.load_study(storage=storage, study_name="s")
    trial = study.ask()
    x = trial.suggest_float("x0", 0, 1)
    if write == "user_attr":
        trial.set_user_attr("a", 1)
    elif write == "system_attr":
        trial.storage.set_trial_system_attr(trial._trial_id, "a", 1)
    elif write == "report":
        trial.report(1.0, step=1)
    elif write == "tell":
        study.tell(trial, 1.0)
    else:
        assert storage.get_trial(trial._trial_id).params == {"x0": x}
    assert kept(storage) == {"x0": x}


def test_what_could_not_be_written_is_written_by_the_next_try(storage: Any) -> None:
    trial = optuna.load_study(storage=storage, study_name="s").ask()
    for name in NAMES:
        trial.suggest_float(name, 0, 1)
    away = [True]

    def refuse(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if away and statement.startswith("INSERT INTO trial_params"):
            away.pop()
            raise sa.exc.OperationalError(statement, None, Exception("away"))

    sa.event.listen(storage.engine, "before_cursor_execute", refuse)
    with pytest.raises(optuna.exceptions.StorageInternalError):
        trial.set_user_attr("a", 1)
    assert (away, kept(storage)) == ([], {})
    trial.set_user_attr("a", 1)
    assert kept(storage) == trial.params


def test_a_parameter_of_another_kind_than_before_is_refused(storage: Any) -> None:
    trial = optuna.load_study(storage=storage, study_name="s").ask()
    trial.suggest_categorical("x0", ["a", "b"])
    with pytest.raises(ValueError, match="distribution"):
        trial.set_user_attr("a", 1)
