"""A study without TensorFlow: workers that answer at once, with what a fit is decided by nothing but its seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from search import seeds
from search.events import SilentListener
from search.fit_checks import Check
from search.records import FitOutcome, Verdict
from search.training.job import FitJob
from search.workers.errors import Stopped, WorkerError
from search.workers.interfaces import MakePool, Worker, WorkerPool
from search.workers.protocol import EmbeddingJob, Timing, TimingJob, TrainingData, WorkerReady, WorkerTask

Answer = Callable[[FitJob], FitOutcome]
READY = WorkerReady("CPU", False, {"tensorflow": "none"}, 0.0)


def outcome(job: FitJob, verdict: Verdict = Verdict.LEARNED, reason: str | None = None, **changes: Any) -> FitOutcome:
    """A fit that ended this way; its score and probabilities follow from the job's seed."""
    rng = np.random.default_rng(job.seed)
    draws = rng.random((len(job.val), job.protocol.classes)) + 0.1
    values: dict[str, Any] = {
        "verdict": verdict,
        "reason": reason,
        "epochs": job.protocol.epochs,
        "seconds": 0.01,
        "score": float(rng.uniform(0.55, 0.95)),
        "probabilities": (draws / draws.sum(axis=1, keepdims=True)).astype(np.float32),
    }
    return FitOutcome(**{**values, **changes})


def by_seed(job: FitJob) -> FitOutcome:
    """All that can happen to a fit, drawn from what it is."""
    draw = seeds.share(job.seed, "outcome")
    if seeds.share(0, "broken", job.configuration.hash) < 0.15:
        raise WorkerError("this network always kills its worker")
    if draw < 0.15:
        return outcome(job, Verdict.COLLAPSED, "constant-output")
    if draw < 0.25:
        return outcome(job, Verdict.COLLAPSED, "dead-layer")
    if draw < 0.3:
        return outcome(job, Verdict.STOPPED, "too-slow")
    return outcome(job)


@dataclass
class FakeWorker(Worker):
    """A worker without a process: every fit is answered at once."""

    answer: Answer
    must_stop: Callable[[], bool] = lambda: False
    jobs: list[FitJob] = field(default_factory=list)
    embedded: list[EmbeddingJob] = field(default_factory=list)
    embedding_error: Exception | None = None
    ready: WorkerReady | None = READY

    def start(self) -> None: ...

    def set_data(self, data: TrainingData) -> None: ...

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        if self.must_stop():
            raise Stopped
        self.jobs.append(job)
        return self.answer(job)

    def run_timing(self, job: TimingJob) -> Timing:
        return Timing(0.01, 0.001)

    def embed(self, job: EmbeddingJob) -> None:
        self.embedded.append(job)
        if self.embedding_error is not None:
            raise self.embedding_error

    def run_task(self, task: WorkerTask) -> Any:
        raise NotImplementedError


class FakePool(WorkerPool):
    """A pool whose one fake worker does for all of them."""

    ready: WorkerReady | None = READY

    def __init__(
        self, answer: Answer = by_seed, must_stop: Callable[[], bool] = lambda: False, workers: int = 1
    ) -> None:
        self.one = FakeWorker(answer, must_stop)
        self._workers = workers

    def __len__(self) -> int:
        return self._workers

    def spawn(self) -> None: ...

    def start(self) -> None: ...

    def set_data(self, data: TrainingData) -> None: ...

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        yield self.one

    def close(self) -> None: ...


def fake_pools(answer: Answer = by_seed) -> MakePool:
    """What makes the pool of a search whose fits are answered so."""
    return lambda resources, must_stop: FakePool(answer, must_stop)


class RecordingListener(SilentListener):
    """Keeps what a run tells of its stages and its progress."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.done: list[tuple[int, int]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        self.done.append((done, total))


def memory() -> sa.Engine:
    """A database that is gone with its engine."""
    return sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
