"""Runner of a worker process's jobs: fits, timings and other tasks. Loads TensorFlow."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np

from search.arrays import FloatArray, IntArray
from search.collapse.watch import Watch
from search.npy import memmap_npy
from search.records import MICROBATCHES, TOO_LARGE, FitOutcome, Verdict
from search.selection import metrics
from search.training.checkpoint import CheckpointStore
from search.training.corruption_scores import MOST_IMAGES, MOST_THROUGH_BACKBONES, corrupted_scores
from search.training.fit import Interrupted, run_fit
from search.training.job import FitJob
from search.training.lr_schedule import Schedule
from search.training.sampling import balance
from search.workers.engine_cache import EngineCache
from search.workers.heartbeat import heartbeat
from search.workers.protocol import (
    EmbeddingJob,
    Heartbeat,
    JobFailed,
    JobStopped,
    TaskDone,
    Timing,
    TimingJob,
    TrainingData,
    WorkerResources,
    WorkerTask,
)

_PREDICTION_IMAGES: Final = 1024  # predicted between two calls of `check_stop`

_UNUSED_PACKAGES: Final = ("scipy", "sklearn", "pandas")
"""Optional packages that Keras imports for features that no fit uses: a third of the start-up time."""


class JobRunner:
    """Runs the jobs of one worker process, one at a time.

    Args:
        resources: threads and GPU that TensorFlow may use.
        send: sends a message to the coordinator; thread-safe.
        check_stop: called regularly during long computations; raises `Interrupted` to end the job.

    Attributes:
        device: name of the GPU, or "CPU".
        on_gpu: whether TensorFlow computes on a GPU.
        versions: versions of "tensorflow" and "keras".
        engines: training data and trainers.
    """

    def __init__(self, resources: WorkerResources, send: Callable[[Any], None], check_stop: Callable[[], None]) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _hidden(_UNUSED_PACKAGES):
            from search.training import device

        self._device, self._send, self._check_stop = device, send, check_stop
        name = device.set_up(resources.threads, resources.gpu.index if resources.gpu else None)
        self.device, self.on_gpu = name or "CPU", name is not None
        self.versions = device.versions()
        gpu_memory = resources.gpu.bytes if resources.gpu and self.on_gpu else None
        self.engines = EngineCache(device, gpu_memory, check_stop)

    def set_data(self, data: TrainingData) -> None:
        """Load the images and labels of all further fits."""
        self.engines.set_data(data)

    def run(
        self, job: FitJob | TimingJob | EmbeddingJob | WorkerTask
    ) -> FitOutcome | Timing | TaskDone | JobStopped | JobFailed:
        """Run a job and return the answer. Never raises: an exception is returned as `JobFailed` with its traceback."""
        try:
            if isinstance(job, WorkerTask):
                return TaskDone(job.run(self.engines.last))
            if isinstance(job, EmbeddingJob):
                self.engines.frozen_backbone(job.configuration, job.protocol).store(job.block)
                return TaskDone(None)
            return self._time(job) if isinstance(job, TimingJob) else self._fit(job)
        except Interrupted:
            return JobStopped()
        except Exception:
            self.engines.clear()
            return JobFailed(traceback.format_exc())

    def _fit(self, job: FitJob) -> FitOutcome:
        """Fit, with batches split into as many microbatches as it takes to fit into the device's memory."""
        checkpoints = None if job.checkpoint is None else CheckpointStore(job.checkpoint)
        batch = job.configuration.batch_size
        microbatches = (checkpoints and _checkpointed_microbatches(checkpoints, batch)) or job.microbatches
        while True:
            has_others, engine = len(self.engines) > 1, None
            try:
                updates = job.updates or _updates(job)
                engine = self.engines.engine(job.configuration, job.protocol, updates, microbatches)
                return self._fit_with(engine, job, checkpoints)
            except Exception as error:
                if not self._device.is_out_of_memory(error):
                    raise
            is_built = engine is not None
            del engine
            self.engines.clear()
            if has_others:  # networks of other fits may have taken the memory: try again as it was
                continue
            if not is_built or microbatches == batch:
                return FitOutcome(verdict=Verdict.STOPPED, reason=TOO_LARGE)
            microbatches = next(more for more in range(microbatches + 1, batch + 1) if batch % more == 0)

    def _fit_with(self, engine: Any, job: FitJob, checkpoints: CheckpointStore | None) -> FitOutcome:
        watch = Watch(job.context, audited=job.audited)
        scorer = metrics.MetricScorer(self.engines.data.metric)
        with heartbeat(engine.work_done, lambda: self._send(Heartbeat())):
            outcome = self._outcome(engine, job, checkpoints, watch, scorer)
        if engine.microbatches > 1:
            outcome = replace(outcome, start={**outcome.start, MICROBATCHES: float(engine.microbatches)})
        if outcome.verdict is Verdict.LEARNED:
            outcome = self._with_predictions(outcome, job, engine, scorer)
        if checkpoints is not None:
            checkpoints.clear()
        return outcome

    def _outcome(
        self,
        engine: Any,
        job: FitJob,
        checkpoints: CheckpointStore | None,
        watch: Watch,
        scorer: metrics.MetricScorer,
    ) -> FitOutcome:
        if job.configuration.is_closed_form:
            from search.training.heads.linear_classifier import fit_classifier

            return fit_classifier(engine, job, self.engines.data.labels, scorer)
        return run_fit(
            engine,
            job,
            self.engines.data.labels,
            watch,
            scorer,
            self._send,
            lambda epoch: self._check_stop(),
            checkpoints,
        )

    def _with_predictions(
        self, outcome: FitOutcome, job: FitJob, engine: Any, scorer: metrics.MetricScorer
    ) -> FitOutcome:
        """Add scores of corrupted copies of the validation images and predictions of further images, if asked for."""

        def probabilities(images: Any, shape_ids: IntArray | None) -> FloatArray:
            logits = []
            for first in range(0, images.shape[0], _PREDICTION_IMAGES):
                rows = np.arange(first, min(first + _PREDICTION_IMAGES, images.shape[0]))
                logits.append(engine.logits_of(images, rows, shape_ids))
                self._check_stop()
            return metrics.softmax(np.concatenate(logits))

        protocol, data = self.engines.seen_by(job.configuration, job.protocol)
        if job.corrupt:
            corrupted = corrupted_scores(
                memmap_npy(data.pixels),
                job.val,
                data.labels[job.val],
                outcome.probabilities,
                lambda images, shape_ids: probabilities(self._device.tensor(images), shape_ids),
                scorer.score,
                self._check_stop,
                protocol.images.shapes,
                data.shape_ids,
                MOST_THROUGH_BACKBONES if job.configuration.embeds else MOST_IMAGES,
            )
            outcome = replace(outcome, corrupted=corrupted)
        if job.predict is not None:
            images = self._device.load_pixels(job.predict, None)
            outcome = replace(outcome, predicted=probabilities(images, job.predict_shape_ids))
        return outcome

    def _time(self, job: TimingJob) -> Timing:
        if job.configuration.embeds:  # the backbone runs once for all fits: its time is not a fit's
            self.engines.frozen_backbone(job.configuration, job.protocol).views(job.configuration)
        started = time.monotonic()
        is_traced = self.engines.is_traced(job.configuration, job.protocol, _updates(job))
        engine = self.engines.engine(job.configuration, job.protocol, _updates(job))
        classes, batch = job.protocol.classes, job.configuration.batch_size
        steps = len(job.train) // batch
        rows = job.train[: steps * batch].reshape(steps, batch).astype(np.int32)
        rates = Schedule.planned(2, steps).rates(0)
        engine.begin(0, job.train, balance(np.ones(classes)))

        def run_epoch() -> float:
            engine.train_epoch(rows, rates, 1)
            engine.logits(job.val)
            self._check_stop()
            return time.monotonic()

        traced = ended = started if is_traced else run_epoch()
        epochs = 0
        while job.seconds is not None and (not epochs or ended - traced < job.seconds):
            ended = run_epoch()
            epochs += 1
        return Timing(traced - started, (ended - traced) / max(1, epochs))


def _checkpointed_microbatches(checkpoints: CheckpointStore, batch: int) -> int | None:
    """Number of microbatches of the fit that was cut off, which has to end as it began; None without a checkpoint."""
    checkpoint = checkpoints.load()
    if checkpoint is None or not 0 < checkpoint.microbatch_size <= batch or batch % checkpoint.microbatch_size:
        return None
    return batch // checkpoint.microbatch_size


@contextmanager
def _hidden(packages: Sequence[str]) -> Iterator[None]:
    """Make packages look as if they were not installed while the block runs, unless they are loaded already."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: the import system finds nothing
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _updates(job: FitJob | TimingJob) -> int:
    return job.protocol.epochs * (len(job.train) // job.configuration.batch_size)
