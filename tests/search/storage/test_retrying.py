"""A server that is away for a while is waited for, by every method of a storage; what it had done is not done twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from search.storage.retrying import RetryingStorage, RetryPolicy

AWAY = sa.exc.OperationalError("SELECT", None, Exception("connection refused"))


class Failing:
    """A storage in memory whose next calls end in errors: before they are done, or after, when the answer is lost."""

    def __init__(self) -> None:
        self._storage = InMemoryStorage()
        self.before: list[Exception] = []
        self.after: list[Exception] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.before:
                raise self.before.pop()
            answer = getattr(self._storage, name)(*arguments, **options)
            if self.after:
                raise self.after.pop()
            return answer

        return call


def policy() -> RetryPolicy:
    return RetryPolicy(60.0, pause=lambda seconds: None)


@pytest.fixture
def failing() -> Any:
    return Failing()


def calls() -> dict[str, Callable[[BaseStorage, int, int], Any]]:
    """A call of every public method, with the IDs of a study and of a trial that runs."""
    flat = optuna.distributions.FloatDistribution(0, 1)
    return {
        "create_new_study": lambda s, study, trial: s.create_new_study([optuna.study.StudyDirection.MINIMIZE]),
        "delete_study": lambda s, study, trial: s.delete_study(study),
        "set_study_user_attr": lambda s, study, trial: s.set_study_user_attr(study, "a", 1),
        "set_study_system_attr": lambda s, study, trial: s.set_study_system_attr(study, "a", 1),
        "get_study_id_from_name": lambda s, study, trial: s.get_study_id_from_name("x"),
        "get_study_name_from_id": lambda s, study, trial: s.get_study_name_from_id(study),
        "get_study_directions": lambda s, study, trial: s.get_study_directions(study),
        "get_study_user_attrs": lambda s, study, trial: s.get_study_user_attrs(study),
        "get_study_system_attrs": lambda s, study, trial: s.get_study_system_attrs(study),
        "get_all_studies": lambda s, study, trial: s.get_all_studies(),
        "create_new_trial": lambda s, study, trial: s.create_new_trial(study),
        "set_trial_param": lambda s, study, trial: s.set_trial_param(trial, "x", 0.5, flat),
        "get_trial_id_from_study_id_trial_number": lambda s, study, trial: s.get_trial_id_from_study_id_trial_number(
            study, 0
        ),
        "get_trial_number_from_id": lambda s, study, trial: s.get_trial_number_from_id(trial),
        "get_trial_param": lambda s, study, trial: s.get_trial_param(trial, "p"),
        "set_trial_state_values": lambda s, study, trial: s.set_trial_state_values(trial, TrialState.COMPLETE, [1.0]),
        "set_trial_intermediate_value": lambda s, study, trial: s.set_trial_intermediate_value(trial, 1, 0.5),
        "set_trial_user_attr": lambda s, study, trial: s.set_trial_user_attr(trial, "a", 1),
        "set_trial_system_attr": lambda s, study, trial: s.set_trial_system_attr(trial, "a", 1),
        "get_trial": lambda s, study, trial: s.get_trial(trial),
        "get_all_trials": lambda s, study, trial: s.get_all_trials(study),
        "get_n_trials": lambda s, study, trial: s.get_n_trials(study),
        "get_best_trial": lambda s, study, trial: s.get_best_trial(study),
        "get_trial_params": lambda s, study, trial: s.get_trial_params(trial),
        "get_trial_user_attrs": lambda s, study, trial: s.get_trial_user_attrs(trial),
        "get_trial_system_attrs": lambda s, study, trial: s.get_trial_system_attrs(trial),
    }


BY_ITSELF = {"remove_session", "check_trial_is_updatable"}  # talk to no database


def test_every_public_method_of_optuna_s_storages_is_tried_below() -> None:
    public = {name for name, _ in inspect.getmembers(BaseStorage, inspect.isfunction) if not name.startswith("_")}
    assert public - BY_ITSELF == calls().keys()


@pytest.mark.parametrize("name", calls())
def test_every_method_waits_for_the_server(name: str, failing: Any) -> None:
    storage = RetryingStorage(failing, policy())
    study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "x")
    ended = storage.create_new_trial(study, optuna.trial.create_trial(value=1.0))
    trial = storage.create_new_trial(study)
    storage.set_trial_param(trial, "p", 0.5, optuna.distributions.FloatDistribution(0, 1))
    failing.before = [AWAY, AWAY]
    calls()[name](storage, study, trial)
    assert failing.before == []
    assert ended != trial


def test_another_error_is_raised_at_once(failing: Any) -> None:
    failing.before = [sa.exc.ProgrammingError("SELECT", None, Exception("no such table"))]
    with pytest.raises(sa.exc.ProgrammingError):
        RetryingStorage(failing, policy()).get_all_studies()


def test_a_write_that_was_done_before_its_answer_was_lost_is_not_refused(failing: Any) -> None:
    storage = RetryingStorage(failing, policy())
    trial = storage.create_new_trial(storage.create_new_study([optuna.study.StudyDirection.MINIMIZE]))
    failing.after = [AWAY]
    assert not storage.set_trial_state_values(trial, TrialState.COMPLETE, [1.0])
    assert storage.get_trial(trial).value == 1.0
    with pytest.raises(UpdateFinishedTrialError):  # as by any storage, where the server was not away
        storage.set_trial_state_values(trial, TrialState.COMPLETE, [2.0])


def test_a_row_that_is_there_after_an_outage_was_written_by_the_first_try() -> None:
    twice = sa.exc.IntegrityError("INSERT", None, Exception("duplicate key"))
    errors = [twice, AWAY]

    def write() -> None:
        raise errors.pop()

    assert policy()(write) is None
    errors = [twice]
    with pytest.raises(sa.exc.IntegrityError):
        policy()(write)


def test_waiting_ends_when_asked_to_and_after_the_time_allowed(failing: Any) -> None:
    stopped = policy()
    stopped.should_stop = lambda: True
    for retry in (stopped, RetryPolicy(-1.0)):
        failing.before = [AWAY]
        with pytest.raises(sa.exc.OperationalError):
            RetryingStorage(failing, retry).get_all_studies()
        assert failing.before == []


def test_the_time_since_the_server_came_back_is_known() -> None:
    retry, errors = policy(), [AWAY]
    assert retry.seconds_back == float("inf")

    def read() -> None:
        if errors:
            raise errors.pop()

    retry(read)
    assert 0.0 <= retry.seconds_back < 60.0
