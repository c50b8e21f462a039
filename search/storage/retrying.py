"""Waiting for a database server that can't be reached for a while, and a storage of Optuna's that does."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, Final, ParamSpec, TypeVar

import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

_GIVE_UP_SECONDS: Final = 3600.0  # a server is waited for
_PAUSE_SECONDS: Final = (0.5, 10.0)  # between two tries: the first, the longest
_TRIES: Final = 5  # to make tables
_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def first_line(error: object) -> str:
    """The first line of what a database or its driver says is wrong."""
    return next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)


def is_away(error: BaseException) -> bool:
    """Whether an error came from a server that can't be reached, not from what it was asked."""
    cause: BaseException | None = error
    while cause is not None:  # Optuna asks a broken session once more, and raises what comes of that
        if isinstance(cause, sa.exc.DBAPIError) and cause.connection_invalidated:
            return True
        if isinstance(cause, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def create_with_retries(create: Callable[[], T]) -> T:
    """Call `create`, again where other hosts created the same tables at the same moment, and return its result."""
    for _ in range(_TRIES):
        try:
            return create()
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
            time.sleep(random.uniform(0.1, 0.5))
    return create()


Retry = Callable[[Callable[[], Any]], Any]
"""Calls a function, and returns what it returns: `RetryPolicy`, or `call_once`."""


def call_once(call: Callable[[], Any]) -> Any:
    """Call a function without trying again, and return its result."""
    return call()


class RetryPolicy:
    """Calls again while the server can't be reached.

    Args:
        seconds: after which it gives up.
        pause: waits so many seconds, for tests.
    """

    def __init__(self, seconds: float = _GIVE_UP_SECONDS, pause: Callable[[float], None] = time.sleep) -> None:
        self.seconds, self._pause = seconds, pause
        self.should_stop: Callable[[], bool] = lambda: False  # asked between two tries
        self._lock = threading.Lock()
        self._is_away = False
        self._back = -math.inf  # when the server answered again

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without its state: another process has its own view of the server, and its own reasons to stop."""
        return RetryPolicy, (self.seconds,)

    @property
    def seconds_back(self) -> float:
        """Seconds since the server answered again after it was away; infinite if it never was."""
        return time.monotonic() - self._back

    def __call__(
        self, call: Callable[[], T], done_before: tuple[type[Exception], ...] = (sa.exc.IntegrityError,)
    ) -> T | None:
        """Call `call` until the server answers, and return its result.

        Args:
            call: fit to be called twice: the server may have done it before its answer was lost.
            done_before: errors by which a second try learns that the first one was done; None is returned then.
        """
        end, pause, was_away = time.monotonic() + self.seconds, _PAUSE_SECONDS[0], False
        while True:
            try:
                answer = call()
            except Exception as error:
                if was_away and isinstance(error, done_before):
                    self._note(False, None)
                    return None
                if not is_away(error) or time.monotonic() > end or self.should_stop():
                    raise
                was_away = True
                self._note(True, error)
                self._pause(pause * random.uniform(0.5, 1.0))  # not all hosts at once
                pause = min(2 * pause, _PAUSE_SECONDS[1])
                continue
            self._note(False, None)
            return answer

    def _note(self, is_away: bool, error: Exception | None) -> None:
        with self._lock:
            if is_away == self._is_away:
                return
            self._is_away = is_away
            self._back = time.monotonic()
        if is_away:
            cause = error.__cause__ or error if error is not None else ""
            _log.warning(
                "The database can't be reached (%s). Waiting for it; running fits continue.", first_line(cause)
            )
        else:
            _log.warning("The database can be reached again.")


def _retried(method: Callable[P, T]) -> Callable[P, T]:
    """The backend's method of this name, called again while the server can't be reached."""

    def call(*arguments: P.args, **options: P.kwargs) -> T:
        storage: Any = arguments[0]
        forward = getattr(storage.backend, method.__name__)
        return storage.retry(lambda: forward(*arguments[1:], **options))  # type: ignore[no-any-return]

    return update_wrapper(call, method, updated=())  # but not Optuna's mark that it is abstract


class RetryingStorage(BaseStorage):
    """A proxy of another storage that waits for the database server while that can't be reached.

    What `BaseStorage` makes of these methods, such as `get_n_trials`, waits as well.

    Args:
        backend: any storage that talks to its database through SQLAlchemy.
        retry: how long to wait, and whom to ask whether to stop.
    """

    def __init__(self, backend: BaseStorage, retry: RetryPolicy) -> None:
        self.backend, self.retry = backend, retry

    create_new_study = _retried(BaseStorage.create_new_study)
    delete_study = _retried(BaseStorage.delete_study)
    set_study_user_attr = _retried(BaseStorage.set_study_user_attr)
    set_study_system_attr = _retried(BaseStorage.set_study_system_attr)
    get_study_id_from_name = _retried(BaseStorage.get_study_id_from_name)
    get_study_name_from_id = _retried(BaseStorage.get_study_name_from_id)
    get_study_directions = _retried(BaseStorage.get_study_directions)
    get_study_user_attrs = _retried(BaseStorage.get_study_user_attrs)
    get_study_system_attrs = _retried(BaseStorage.get_study_system_attrs)
    get_all_studies = _retried(BaseStorage.get_all_studies)
    create_new_trial = _retried(BaseStorage.create_new_trial)
    set_trial_param = _retried(BaseStorage.set_trial_param)
    set_trial_intermediate_value = _retried(BaseStorage.set_trial_intermediate_value)
    set_trial_user_attr = _retried(BaseStorage.set_trial_user_attr)
    set_trial_system_attr = _retried(BaseStorage.set_trial_system_attr)
    get_trial_id_from_study_id_trial_number = _retried(BaseStorage.get_trial_id_from_study_id_trial_number)
    get_trial = _retried(BaseStorage.get_trial)
    get_all_trials = _retried(BaseStorage.get_all_trials)
    get_best_trial = _retried(BaseStorage.get_best_trial)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Write the end of a trial, or that it runs.

        Returns:
            Whether the state was written by this call. False too where the server was away and the trial had an end
            when it was back: written by this very call, or by another host that took this one for lost.
        """

        def write() -> bool:
            return self.backend.set_trial_state_values(trial_id, state, values)

        return bool(self.retry(write, (sa.exc.IntegrityError, UpdateFinishedTrialError)))
