"""Parameters of a trial in one transaction, trials as plain rows: the same study as by Optuna's own storage."""

from __future__ import annotations

import inspect
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from search.storage.bulk_storage import BulkStorage
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
    opened = open_storage(tmp_path)
    yield opened
    close(opened)


@pytest.fixture
def study(storage: Any) -> optuna.Study:
    """With one trial, so that its parameters are known to this process."""
    study = optuna.create_study(storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda trial: float(sum(trial.suggest_float(name, 0, 1) for name in NAMES)), n_trials=1)
    return study


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


def test_parameters_wait_for_the_next_write_and_are_there_then(storage: Any, study: optuna.Study) -> None:
    trial = study.ask()
    for name in NAMES:
        trial.suggest_float(name, 0, 1)
    assert kept(storage) == {}
    trial.set_user_attr("configuration", "whole")
    assert kept(storage) == trial.params
    assert list(trial.params) == NAMES


@pytest.mark.parametrize("write", ["user_attr", "system_attr", "report", "tell", "read"])
def test_whatever_is_told_or_asked_of_the_trial_comes_after_its_parameters(
    storage: Any, study: optuna.Study, write: str
) -> None:
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


def test_what_could_not_be_written_is_written_by_the_next_try(storage: Any, study: optuna.Study) -> None:
    trial = study.ask()
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


@pytest.mark.parametrize("known", [True, False])
def test_a_parameter_of_another_kind_than_before_is_refused_at_once(
    known: bool, storage: Any, study: optuna.Study
) -> None:
    """Whether this process has run a trial of the study or not."""
    trial = (study if known else optuna.load_study(storage=storage, study_name="s")).ask()
    with pytest.raises(ValueError, match="distribution"):
        trial.suggest_categorical("x0", ["a", "b"])


def test_a_parameter_of_a_trial_that_has_ended_is_refused_at_once(study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.suggest_float("x0", 0, 1)


def test_nothing_that_optuna_keeps_to_itself_has_changed(storage: Any) -> None:
    """The private methods that the storage overrides, those that Optuna's cache calls, and the tables that are read.

    Where this fails, compare `search.storage.bulk_storage` with the new `optuna.storages.RDBStorage`.
    """
    for name in ("_set_trial_param", "_get_trials"):
        ours, theirs = (getattr(one, name) for one in (BulkStorage, optuna.storages.RDBStorage))
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name
    backend = set(re.findall(r"_backend\.(\w+)", inspect.getsource(optuna.storages._CachedStorage)))
    assert {name for name in backend if name.startswith("_")} == {
        *("_create_new_trial", "_get_best_trial_id", "_get_stale_trial_ids", "_get_trials", "_set_trial_param")
    }
    columns = {
        table: [column["name"] for column in sa.inspect(storage.engine).get_columns(table)]
        for table in ("trials", "trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes")
    }
    assert columns == {
        "trials": ["trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"],
        "trial_params": ["param_id", "trial_id", "param_name", "param_value", "distribution_json"],
        "trial_values": ["trial_value_id", "trial_id", "objective", "value", "value_type"],
        "trial_intermediate_values": [
            *("trial_intermediate_value_id", "trial_id", "step", "intermediate_value", "intermediate_value_type")
        ],
        "trial_user_attributes": ["trial_user_attribute_id", "trial_id", "key", "value_json"],
    }
