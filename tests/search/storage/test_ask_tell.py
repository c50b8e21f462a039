"""Trials of a host: their heartbeats, their ends, and what becomes of those of hosts that are lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from search.storage.ask_tell import TrialEnd, fail_stale_trials, optimize
from search.storage.database import close
from search.storage.retrying import RetryPolicy
from search.storage.server import ServerStorage

pytestmark = pytest.mark.usefixtures("known_migrations")

DONE = TrialEnd(TrialState.COMPLETE, 1.0)


def times(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is not None


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[ServerStorage]:
    """As on a server, in a file; a host is lost after a minute."""
    opened = ServerStorage(f"sqlite:///{tmp_path}/x.db", heartbeat_seconds=1, grace_seconds=60)
    yield opened
    close(opened)


@pytest.fixture
def study(storage: ServerStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="s", direction="maximize")


def silence(storage: ServerStorage, seconds: float) -> None:
    """Make every heartbeat this much older."""
    with storage.engine.begin() as connection:
        for trial_id, heartbeat in connection.execute(sa.text("SELECT trial_id, heartbeat FROM trial_heartbeats")):
            older = datetime.fromisoformat(heartbeat) - timedelta(seconds=seconds)
            row = {"trial": trial_id, "heartbeat": f"{older:%Y-%m-%d %H:%M:%S.%f}"}
            connection.execute(
                sa.text("UPDATE trial_heartbeats SET heartbeat = :heartbeat WHERE trial_id = :trial"), row
            )


@pytest.mark.parametrize(
    ("end", "state", "value"),
    [
        (DONE, TrialState.COMPLETE, 1.0),
        (TrialEnd(TrialState.PRUNED), TrialState.PRUNED, 0.25),  # the last value reported, as by Study.optimize
        (TrialEnd(TrialState.FAIL), TrialState.FAIL, None),
    ],
)
def test_optuna_is_told_how_a_trial_ended(
    end: TrialEnd, state: TrialState, value: float | None, study: optuna.Study, storage: ServerStorage
) -> None:
    def objective(trial: optuna.Trial) -> TrialEnd:
        trial.report(0.25, step=1)
        return end

    optimize(study, storage, objective, go_on=times(1))
    (trial,) = study.trials
    assert (trial.state, trial.value) == (state, value)


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_told_as_fail_and_ends_all_workers(
    error: BaseException, workers: int, study: optuna.Study, storage: ServerStorage
) -> None:
    def objective(trial: optuna.Trial) -> TrialEnd:
        raise error

    with pytest.raises(type(error)):
        optimize(study, storage, objective, go_on=lambda: True, workers=workers)
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
    assert 1 <= len(study.trials) <= workers


def test_workers_run_trials_at_the_same_time(study: optuna.Study, storage: ServerStorage) -> None:
    meeting = threading.Barrier(3)

    def objective(trial: optuna.Trial) -> TrialEnd:
        meeting.wait(30)
        return DONE

    optimize(study, storage, objective, go_on=times(6), workers=3)
    assert [trial.state for trial in study.trials] == 6 * [TrialState.COMPLETE]


def test_a_trial_that_runs_has_heartbeats(study: optuna.Study, storage: ServerStorage) -> None:
    def beats(trial: optuna.Trial) -> set[str]:
        with storage.engine.connect() as connection:
            found = connection.execute(sa.text("SELECT heartbeat FROM trial_heartbeats")).scalars().all()
        return set(found)

    def objective(trial: optuna.Trial) -> TrialEnd:
        seen: set[str] = set()
        end = time.monotonic() + 30.0
        while len(seen) < 2 and time.monotonic() < end:
            seen |= beats(trial)
            time.sleep(0.05)
        assert len(seen) >= 2
        silence(storage, 300.0)
        time.sleep(1.5)  # and the next one comes
        assert storage.stale_trials("s") == []
        return DONE

    optimize(study, storage, objective, go_on=times(1))


def test_a_trial_without_heartbeats_for_too_long_fails_and_is_handed_on(
    study: optuna.Study, storage: ServerStorage
) -> None:
    lost: list[FrozenTrial] = []
    dead, alive = study.ask(), study.ask()
    storage.record_heartbeat(dead._trial_id)
    silence(storage, 61.0)
    storage.record_heartbeat(alive._trial_id)
    optimize(study, storage, lambda trial: DONE, go_on=times(2), on_lost=lost.append)
    assert [trial.number for trial in lost] == [dead.number]
    assert [trial.state for trial in study.trials[:2]] == [TrialState.FAIL, TrialState.RUNNING]


def test_a_trial_that_never_had_a_heartbeat_is_stale_after_the_same_time(
    study: optuna.Study, storage: ServerStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.ask()
    assert fail_stale_trials(study, storage) == []  # seen for the first time
    later = time.monotonic() + 61.0
    monkeypatch.setattr("search.storage.server.time.monotonic", lambda: later)
    assert [trial.number for trial in fail_stale_trials(study, storage)] == [0]


def test_nobody_is_lost_right_after_the_server_was_away(tmp_path: Path) -> None:
    """No host could record a heartbeat meanwhile."""
    retry = RetryPolicy(60.0, pause=lambda seconds: None)
    storage = ServerStorage(f"sqlite:///{tmp_path}/x.db", retry, 1, 60)
    study = optuna.create_study(storage=storage, study_name="s")
    storage.record_heartbeat(study.ask()._trial_id)
    silence(storage, 61.0)
    errors = [sa.exc.OperationalError("SELECT", None, Exception("away"))]

    def read() -> None:
        if errors:
            raise errors.pop()

    retry(read)
    assert storage.stale_trials("s") == []
    retry._back -= 61.0
    assert storage.stale_trials("s") == [1]
    close(storage)


@pytest.mark.parametrize("writes", [False, True])
def test_a_trial_that_was_taken_over_is_let_go(
    writes: bool, study: optuna.Study, storage: ServerStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """By another host, which took this one for lost; the next trial follows."""

    def objective(trial: optuna.Trial) -> TrialEnd:
        if trial.number == 0:
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        if writes:
            trial.set_user_attr("a", 1)
        return DONE

    with caplog.at_level(logging.WARNING):
        optimize(study, storage, objective, go_on=times(2))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "Trial 0 was taken over by another host" in caplog.text


def test_a_study_of_one_host_needs_no_heartbeats() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    study.ask()
    assert fail_stale_trials(study, storage) == []
    optimize(study, storage, lambda trial: DONE, go_on=times(1))
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING, TrialState.COMPLETE]
