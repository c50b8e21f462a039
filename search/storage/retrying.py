"""A study on a database server: many hosts at once, each of which may be lost, as the server may be for a while.

The trials are Optuna's distributed ones, with its heartbeats: a host that is lost has its trials taken over by others,
who find the fits that were done in the ledger.
"""

from __future__ import annotations

import logging
import math
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState

from search.storage.bulk_storage import QuickStorage

HEARTBEAT_SECONDS: Final = 30
GRACE_SECONDS: Final = 120
"""Without a heartbeat, after which a host is taken for lost."""

_PATIENCE_SECONDS: Final = 3600.0  # with a server that can't be reached
_OPEN_SECONDS: Final = 120.0  # with one that could not be reached yet: the URL may be wrong
_REFUSED: Final = re.compile(
    r"authentication|password|does not exist|pg_hba|resolve|translate|not known", re.IGNORECASE
)
"""In what a server, or the name service, says to a wrong URL: waiting is no use."""

_PAUSE_SECONDS: Final = (0.5, 10.0)  # between two tries: the first, the longest
_TRIES: Final = 5  # to make tables
_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Of Optuna's tables, what says whose hosts are alive.
_STUDIES: Final = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
_TRIALS: Final = sa.table("trials", sa.column("trial_id"), sa.column("study_id"), sa.column("state"))
_HEARTBEATS: Final = sa.table("trial_heartbeats", sa.column("trial_id"), sa.column("heartbeat", sa.DateTime()))


def first_line(error: object) -> str:
    """What a database or its driver says is wrong, in one line."""
    return next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)


def create_with_retries(make: Callable[[], T]) -> T:
    """What `make` gives. Other hosts may make the same tables at the same moment: then they are there the next time."""
    for _ in range(_TRIES):
        try:
            return make()
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
            time.sleep(random.uniform(0.1, 0.5))
    return make()


def with_driver(url: str) -> str:
    """The URL with the driver that we bring, unless it names one.

    >>> with_driver("postgresql://me@host/studies")
    'postgresql+psycopg://me@host/studies'
    """
    kind, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if kind in ("postgresql", "postgres") else url


class RetryPolicy:
    """Tries again while the server can't be reached.

    Args:
        seconds: after which it gives up.
        pause: waits, for tests.
    """

    def __init__(self, seconds: float = _PATIENCE_SECONDS, pause: Callable[[float], None] = time.sleep) -> None:
        self.seconds, self._pause = seconds, pause
        self.should_stop: Callable[[], bool] = lambda: False  # asked between two tries
        self._lock = threading.Lock()
        self._is_away = False
        self._back = -math.inf  # when the server answered again

    @property
    def seconds_back(self) -> float:
        """Since the server answered again after it was away; infinite if it never was."""
        return time.monotonic() - self._back

    def __call__(self, ask: Callable[[], T]) -> T:
        """What `ask` gives, as soon as the server answers.

        `ask` may have been heard before its answer was lost: it must be fit to be asked twice.
        """
        end, pause, was_away = time.monotonic() + self.seconds, _PAUSE_SECONDS[0], False
        while True:
            try:
                answer = ask()
            except sa.exc.IntegrityError:
                if not was_away:
                    raise
                self._note(False, None)
                return None  # type: ignore[return-value]  # it had been heard, and stands there
            except Exception as error:
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
            _log.warning("The database can't be reached (%s): waiting for it; what trains goes on.", first_line(cause))
        else:
            _log.warning("The database is there again.")


def open_server(url: str, should_stop: Callable[[], bool]) -> ServerStorage:
    """The storage of a server, which is waited for if it is away, as hosts may start while it is started again.

    Args:
        url: of the database.
        should_stop: asked between two tries, and as long as the storage is used.

    Raises:
        DBAPIError: it refuses, or did not answer for two minutes.
    """
    patience = RetryPolicy(_OPEN_SECONDS)
    patience.should_stop = should_stop

    def make() -> ServerStorage | Exception:
        try:
            return create_with_retries(
                lambda: ServerStorage(url, patience, heartbeat=HEARTBEAT_SECONDS, grace=GRACE_SECONDS)
            )
        except sa.exc.OperationalError as error:
            if _REFUSED.search(str(error.orig)):
                return error
            raise

    found = patience(make)
    if isinstance(found, Exception):
        raise found
    patience.seconds = _PATIENCE_SECONDS
    return found


def is_away(error: BaseException) -> bool:
    """Whether the server, not what it was asked, is the reason."""
    cause: BaseException | None = error
    while cause is not None:  # Optuna asks a broken session once more, and tells of that
        if isinstance(cause, sa.exc.DBAPIError) and cause.connection_invalidated:
            return True
        if isinstance(cause, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _patient(method: Callable[P, T]) -> Callable[P, T]:
    @wraps(method)
    def ask(*arguments: P.args, **options: P.kwargs) -> T:
        storage: Any = arguments[0]
        return storage.patience(lambda: method(*arguments, **options))  # type: ignore[no-any-return]

    return ask


def _unprepared(url: str) -> dict[str, Any]:
    """Options by which the driver leaves no prepared statements behind: behind a pooler the next transaction is on
    another connection, which does not know them."""
    return {"connect_args": {"prepare_threshold": None}} if url.startswith("postgresql+psycopg:") else {}


def _in_utc(connection: Any, record: object) -> None:
    """Optuna's heartbeats have no time zone: in local time, a clock change would make all of them an hour old."""
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()


class ServerStorage(QuickStorage):
    """Optuna's storage on a server, patient with it, and with heartbeats.

    Args:
        url: of the database.
        patience: with the server.
        heartbeat: seconds from one to the next.
        grace: seconds without one, after which a trial is lost.
    """

    def __init__(
        self,
        url: str,
        patience: RetryPolicy | None = None,
        heartbeat: int = HEARTBEAT_SECONDS,
        grace: int = GRACE_SECONDS,
    ) -> None:
        self.patience = patience or RetryPolicy()
        self.heartbeat_seconds, self._grace_seconds = heartbeat, grace
        self._looking = threading.Lock()
        self._silent_since: dict[int, float] = {}
        try:
            super().__init__(
                url,
                engine_kwargs={
                    "pool_pre_ping": True,
                    "pool_size": 20,
                    "max_overflow": 20,
                    "execution_options": {"isolation_level": "AUTOCOMMIT"},
                    **_unprepared(url),
                },
            )
            # Optuna looks at its tables by two connections at a time. In transactions, many hosts that start at once
            # would each hold one of a pooler's connections and wait for ever for the other.
            self.engine.update_execution_options(isolation_level="READ COMMITTED")
            if self.engine.dialect.name == "postgresql":
                sa.event.listen(self.engine, "connect", _in_utc)
                self.scoped_session.remove()
                self.engine.dispose()  # those that are open know another time
        except BaseException:
            if hasattr(self, "engine"):
                self.scoped_session.remove()
                self.engine.dispose()
            raise

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's; False where the trial has ended meanwhile: by this very call, whose answer was lost, or by
        another host that took this one for lost."""
        try:
            return self.patience(lambda: super(ServerStorage, self).set_trial_state_values(trial_id, state, values))
        except optuna.exceptions.UpdateFinishedTrialError:
            if not state.is_finished():
                raise
            return False

    def stale_trials(self, study_name: str) -> list[int]:
        """IDs of running trials whose host is lost: no heartbeat for the grace period, or none ever in all that time.

        A trial without any heartbeat is timed by this host's own clock, from when this host first saw it.

        None after the server was away, until every host has had the time for a heartbeat: nobody had one meanwhile.
        """
        if self.patience.seconds_back < self._grace_seconds:
            return []
        query = (
            sa.select(_TRIALS.c.trial_id, _HEARTBEATS.c.heartbeat, sa.func.now())
            .join(_STUDIES, _STUDIES.c.study_id == _TRIALS.c.study_id)
            .outerjoin(_HEARTBEATS, _HEARTBEATS.c.trial_id == _TRIALS.c.trial_id)
            .where(_STUDIES.c.study_name == study_name, sa.cast(_TRIALS.c.state, sa.String) == TrialState.RUNNING.name)
            .order_by(_TRIALS.c.trial_id)
        )

        def read() -> Sequence[Any]:
            with self.engine.connect() as connection:
                return connection.execute(query).all()

        rows, now = self.patience(read), time.monotonic()
        with self._looking:
            silent = [trial_id for trial_id, heartbeat, _ in rows if heartbeat is None]
            self._silent_since = {trial_id: self._silent_since.get(trial_id, now) for trial_id in silent}
            silences = [
                (trial_id, now - self._silent_since[trial_id])
                if heartbeat is None
                else (trial_id, (there.replace(tzinfo=None) - heartbeat).total_seconds())
                for trial_id, heartbeat, there in rows
            ]
        return [trial_id for trial_id, seconds in silences if seconds > self._grace_seconds]


for _name in (
    *("get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_study_user_attrs"),
    *("get_study_system_attrs", "get_all_studies", "set_study_user_attr", "set_study_system_attr"),
    *("create_new_study", "_create_new_trial", "get_trial", "_get_trials", "_get_best_trial_id", "get_trial_param"),
    *("get_trial_id_from_study_id_trial_number", "set_trial_intermediate_value"),
    *("set_trial_user_attr", "set_trial_system_attr", "record_heartbeat"),
):
    setattr(ServerStorage, _name, _patient(getattr(QuickStorage, _name)))
