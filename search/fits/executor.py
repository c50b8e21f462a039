"""Fits that belong together, spread over all who can do them: the workers of this host, or of every host.

On one host each part is one worker's. On several, a part is an enqueued trial of a study of its own, so that the
heartbeats and takeovers of the search serve here too; what another host has done is found in the ledger.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

import optuna
from optuna.trial import TrialState

from search.storage.ask_tell import TrialEnd, fail_stale_trials, optimize
from search.storage.hosts import HostRegistry
from search.workers.errors import Stopped
from search.workers.interfaces import Worker, WorkerPool

_PART: Final = "part"
_POLL_SECONDS: Final = 2.0
_TRACE: Final = 0.25  # of a fit: what tracing its network costs

_DONE: Final = TrialEnd(TrialState.COMPLETE, 1.0)  # of a part

Part = TypeVar("Part")


def best_split(workers: int, wholes: int, pieces: int) -> int:
    """Into how many parts each of so many equal wholes is cut, so that so many workers are done with all the soonest.

    Uncut, a network is traced once; cut, every worker that gets a part of it traces it anew.

    >>> [best_cut(workers, wholes, 5) for workers, wholes in ((2, 1), (2, 2), (2, 3), (16, 1), (2, 8))]
    [2, 1, 5, 5, 1]
    """

    def cost(parts: int) -> float:
        traces = -(-wholes // workers) if parts == 1 else wholes
        return longest_queue(workers, wholes, pieces, parts) + _TRACE * traces

    return min(range(1, pieces + 1), key=cost)


def longest_queue(workers: int, wholes: int, pieces: int, parts: int) -> int:
    """Pieces that the busiest worker does one after another, each of the wholes being cut into so many parts."""
    return -(-wholes * parts // workers) * -(-pieces // parts)


class Executor(Protocol):
    """Does parts of a whole."""

    @property
    def workers(self) -> int:
        """All that come to a whole."""

    def cut(self, wholes: int, pieces: int) -> int:
        """Into how many parts each of so many wholes of so many pieces is cut best.

        Pieces of a part follow each other in one worker, which has traced their network.
        """

    def do(self, name: str, parts: Sequence[Part], work: Callable[[Worker, Part], None]) -> None:
        """Have all parts done.

        Args:
            name: of the whole: the same for the same parts, another for others.
            parts: independent of each other.
            work: does a part with a worker; a part that is done already costs nothing.

        Raises:
            Stopped: the time is over; parts that were done are done.
        """


class LocalExecutor:
    """The workers of this host, a part each.

    Args:
        pool: of workers.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    @property
    def workers(self) -> int:
        """Of this host."""
        return len(self._pool)

    def cut(self, wholes: int, pieces: int) -> int:
        """So that no worker waits long for the others."""
        return best_split(self.workers, wholes, pieces)

    def do(self, name: str, parts: Sequence[Part], work: Callable[[Worker, Part], None]) -> None:
        """As `Executor.do`."""

        def one(part: Part) -> None:
            with self._pool.worker() as worker:
                work(worker, part)

        with ThreadPoolExecutor(len(self._pool)) as threads:
            list(threads.map(one, parts))


class SharedExecutor:
    """The workers of all hosts that come to the same whole.

    Args:
        pool: of this host's workers.
        storage: that all hosts share.
        study: name of the search; that of a whole begins with it.
        hosts: knows how many workers all hosts have.
        should_stop: asked between parts.
        pause: waits, for tests.
    """

    def __init__(
        self,
        pool: WorkerPool,
        storage: optuna.storages.BaseStorage,
        study: str,
        hosts: HostRegistry,
        should_stop: Callable[[], bool],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pool, self._storage, self._study = pool, storage, study
        self._hosts = hosts
        self._should_stop, self._pause = should_stop, pause
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """Of all hosts."""
        return self._hosts.everyones()

    def cut(self, wholes: int, pieces: int) -> int:
        """Into pieces: other hosts, however many they are, must cut alike."""
        return pieces

    def do(self, name: str, parts: Sequence[Part], work: Callable[[Worker, Part], None]) -> None:
        """As `Executor.do`: parts that other hosts did are gone through here too, and found done."""
        whole = optuna.create_study(
            storage=self._storage,
            study_name=f"{self._study}/{hashlib.sha256(name.encode()).hexdigest()[:16]}",
            load_if_exists=True,
        )
        mine: set[int] = set()  # begun here
        ready: set[int] = set()  # and done

        def objective(trial: optuna.Trial) -> TrialEnd:
            number = trial.user_attrs.get(_PART)
            if number is None:  # somebody else was quicker, and nothing waited any more
                return TrialEnd(TrialState.PRUNED)
            with self._lock:
                if number in ready:  # its end was lost with the database
                    return _DONE
                if number in mine or self._is_twin(whole, trial, number):  # two hosts enqueued it
                    return TrialEnd(TrialState.PRUNED)
                mine.add(number)
            self._hosts.tell()
            try:
                with self._pool.worker() as worker:
                    work(worker, parts[number])
            except BaseException:
                with self._lock:
                    mine.discard(number)
                raise
            with self._lock:
                ready.add(number)
            return _DONE

        def go_on() -> bool:
            return not self._should_stop() and self._waiting(whole)

        while missing := self._missing(whole, len(parts)):
            if self._should_stop():
                raise Stopped
            self._enqueue(whole, missing)
            optimize(whole, self._storage, objective, go_on=go_on, workers=len(self._pool))
            if self._missing(whole, len(parts)):
                self._pause(_POLL_SECONDS)
        LocalExecutor(self._pool).do(name, [part for number, part in enumerate(parts) if number not in mine], work)

    @staticmethod
    def _is_twin(whole: optuna.Study, trial: optuna.Trial, part: int) -> bool:
        """Whether somebody does the part, or did it, by an earlier trial. One that is lost is failed."""
        others = whole.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        return any(other.user_attrs.get(_PART) == part and other.number < trial.number for other in others)

    def _waiting(self, whole: optuna.Study) -> bool:
        return bool(whole.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def _missing(self, whole: optuna.Study, parts: int) -> set[int]:
        """Parts that nobody has done."""
        done = whole.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return set(range(parts)) - {trial.user_attrs.get(_PART) for trial in done}

    def _enqueue(self, whole: optuna.Study, missing: set[int]) -> None:
        """Those that nobody does or will do. Two hosts may enqueue one at the same time: the earlier trial does it."""
        fail_stale_trials(whole, self._storage)
        under_way = whole.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
        for part in sorted(missing - {trial.user_attrs.get(_PART) for trial in under_way}):
            whole.enqueue_trial({}, user_attrs={_PART: part})
