"""A study on a PostgreSQL server, where several hosts work at once, any of which may be lost, as the server may be.

Hosts record heartbeats of their trials in Optuna's own table. The trials of a host that is lost fail, and others go on
with them: they find the fits that were done in the ledger.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState

from search.storage.bulk_storage import BulkStorage
from search.storage.retrying import RetryingStorage, RetryPolicy, create_with_retries

HEARTBEAT_SECONDS: Final = 30
GRACE_SECONDS: Final = 120
"""Seconds without a heartbeat after which a host is taken for lost."""

_OPEN_SECONDS: Final = 120.0  # a server is waited for that was never reached: the URL may be wrong
_REFUSED: Final = re.compile(
    r"authentication|password|does not exist|pg_hba|resolve|translate|not known", re.IGNORECASE
)
"""Part of what a server, or the name service, says to a wrong URL: waiting is no use."""

# Of Optuna's tables, what says whose hosts are alive.
_STUDIES: Final = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
_TRIALS: Final = sa.table("trials", sa.column("trial_id"), sa.column("study_id"), sa.column("state"))
_HEARTBEATS: Final = sa.table("trial_heartbeats", sa.column("trial_id"), sa.column("heartbeat", sa.DateTime()))


def with_driver(url: str) -> str:
    """The URL with the driver that is installed with this package, unless it names one.

    >>> with_driver("postgresql://me@host/studies")
    'postgresql+psycopg://me@host/studies'
    """
    kind, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if kind in ("postgresql", "postgres") else url


class ServerStorage(RetryingStorage):
    """Optuna's storage on a server that is shared: waits for the server, and tells whose hosts are lost.

    It is no `BaseHeartbeat` of Optuna's, whose heartbeats are for `Study.optimize` alone: `Study.ask` warns of them.

    Args:
        url: of the database, with its driver, `{` and `}` doubled.
        retry: how long the server is waited for.
        heartbeat_seconds: from one heartbeat to the next.
        grace_seconds: without a heartbeat, after which a trial's host is lost.
    """

    def __init__(
        self,
        url: str,
        retry: RetryPolicy | None = None,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
        grace_seconds: int = GRACE_SECONDS,
    ) -> None:
        self._url, self._rdb = url, _connect(url)
        super().__init__(optuna.storages.get_storage(self._rdb), retry or RetryPolicy())  # cached, as by create_study
        self.heartbeat_seconds, self._grace_seconds = heartbeat_seconds, grace_seconds
        self._lock = threading.Lock()
        self._silent_since: dict[int, float] = {}  # trials that never had a heartbeat

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it is made of: another process has connections of its own."""
        return type(self), (self._url, self.retry, self.heartbeat_seconds, self._grace_seconds)

    @property
    def engine(self) -> sa.Engine:
        """Connections to the database."""
        return self._rdb.engine

    def remove_session(self) -> None:
        """Give back the calling thread's connection."""
        self._rdb.remove_session()

    def record_heartbeat(self, trial_id: int) -> None:
        """Record that the host of a trial is alive now, by the server's clock."""
        self.retry(lambda: self._rdb.record_heartbeat(trial_id))

    def stale_trials(self, study_name: str) -> list[int]:
        """IDs of running trials whose host is lost: without a heartbeat for the grace period.

        A trial that never had a heartbeat is timed by this host's clock, from when this host first saw it: clocks of
        hosts may differ. After the server was away no trial is stale until every host had the time for a heartbeat.
        """
        if self.retry.seconds_back < self._grace_seconds:
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

        rows, here = self.retry(read) or (), time.monotonic()
        silences = {
            trial_id: (there.replace(tzinfo=None) - heartbeat).total_seconds()
            for trial_id, heartbeat, there in rows
            if heartbeat is not None
        }
        never = [trial_id for trial_id, heartbeat, _ in rows if heartbeat is None]
        with self._lock:
            self._silent_since = {trial_id: self._silent_since.get(trial_id, here) for trial_id in never}
            silences |= {trial_id: here - since for trial_id, since in self._silent_since.items()}
        return sorted(trial_id for trial_id, seconds in silences.items() if seconds > self._grace_seconds)


def open_server(url: str, should_stop: Callable[[], bool]) -> ServerStorage:
    """The storage of a server, which is waited for if it is away: hosts may start while it is started again.

    Args:
        url: of the database, with its driver.
        should_stop: asked between two tries, and as long as the storage is used.

    Raises:
        DBAPIError: it refuses, or did not answer for two minutes.
    """
    retry = RetryPolicy(_OPEN_SECONDS)
    retry.should_stop = should_stop

    def connect() -> ServerStorage | Exception:
        try:
            return create_with_retries(lambda: ServerStorage(url, retry, HEARTBEAT_SECONDS, GRACE_SECONDS))
        except sa.exc.OperationalError as error:
            if _REFUSED.search(str(error.orig)):
                return error
            raise

    opened = retry(connect, done_before=())
    if not isinstance(opened, ServerStorage):
        assert opened is not None
        raise opened
    retry.seconds = RetryPolicy().seconds
    return opened


def _connect(url: str) -> BulkStorage:
    """Optuna's storage of the database.

    Optuna looks at its tables by two connections at a time. In transactions, many hosts that start at once would each
    hold one of a pooler's connections and wait for ever for the other: it looks without transactions.

    The driver leaves no prepared statements behind: behind a pooler, the next transaction is on another connection,
    which does not know them.
    """
    is_postgresql = url.startswith("postgresql")
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 20, "max_overflow": 20}
    if is_postgresql:
        options["execution_options"] = {"isolation_level": "AUTOCOMMIT"}
    if url.startswith("postgresql+psycopg:"):
        options["connect_args"] = {"prepare_threshold": None}
    rdb = BulkStorage(url, options)
    if is_postgresql:
        rdb.engine.update_execution_options(isolation_level="READ COMMITTED")
        sa.event.listen(rdb.engine, "connect", _in_utc)
        rdb.remove_session()
        rdb.engine.dispose()  # those that are open know another time
    return rdb


def _in_utc(connection: Any, record: object) -> None:
    """Heartbeats have no time zone: in local time, a clock change would make all of them an hour old."""
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()
