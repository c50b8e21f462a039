"""The worker process: the only one that loads TensorFlow. Trains and answers; ends when its coordinator does."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np

from search.arrays import FloatArray, IntArray
from search.collapse.watch import Watch
from search.npy import memmap_npy
from search.records import PARTS, TOO_LARGE, FitOutcome, Verdict
from search.selection import metrics
from search.settings import TrainingProtocol
from search.training.checkpoint import CheckpointStore
from search.training.corruption_scores import MOST_IMAGES, MOST_THROUGH_BACKBONES, corrupted_scores
from search.training.fit import Interrupted, run_fit
from search.training.job import FitJob
from search.training.lr_schedule import Schedule
from search.training.prefetch import prefetcher_for
from search.training.sampling import balance
from search.workers.child import end_with_parent, redirect_output
from search.workers.heartbeat import heartbeat
from search.workers.protocol import (
    QUIT,
    STOP,
    Heartbeat,
    JobFailed,
    JobStopped,
    TaskDone,
    Timing,
    TimingJob,
    TrainingData,
    WorkerReady,
    WorkerResources,
    WorkerTask,
)
from spaces.backbones import NO_BACKBONE
from spaces.config import Configuration

_BEAT_SECONDS: Final = 1.0
_PREDICTED: Final = 1024  # images from one sign of life to the next

_UNUSED: Final = ("scipy", "sklearn", "pandas")
"""Keras loads them for parts that no fit needs, where they are installed: a third of the time to the first fit."""

TRACED: Final = 8
"""Networks that a worker keeps traced: all fits of a trial come in a row, those of the finalists come round again."""


def main(pipe: Connection, seat: WorkerResources) -> None:
    """Entry point of the process."""
    end_with_parent()
    started = time.monotonic()
    redirect_output(seat.log, 2)
    try:
        bench = _JobServer(pipe, seat)
        pipe.send(WorkerReady(bench.device, bench.on_gpu, bench.versions, time.monotonic() - started))
        while (message := pipe.recv()) != QUIT:
            if isinstance(message, TrainingData):
                bench.supply(message)
            elif message != STOP:  # a STOP that came too late for its fit
                pipe.send(bench.answer(message))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except Exception:
        pipe.send(JobFailed(traceback.format_exc()))


class _JobServer:
    """Holds what is reused from fit to fit: the pixels on the device and the networks traced last."""

    def __init__(self, pipe: Connection, seat: WorkerResources) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _hidden(_UNUSED):
            from search.training import device

        self._device = device
        self._pipe, self._saying = pipe, threading.Lock()
        self._next_beat = 0.0
        name = device.set_up(seat.threads, seat.gpu.index if seat.gpu else None)
        self.device, self.on_gpu = name or "CPU", name is not None
        self.versions = device.versions()
        self._room = seat.gpu.bytes if seat.gpu and self.on_gpu else None
        self._engines: dict[tuple[str, TrainingProtocol, int, int], Any] = {}  # the one used last comes last
        self._pretrained: dict[str, list[Any]] = {}  # by backbone
        self._stems: dict[str, Any] = {}
        self._material: TrainingData
        self._images: Any
        self._ahead: Any
        self._labels: Any

    def supply(self, material: TrainingData) -> None:
        """Take over what is trained on."""
        self._engines.clear()
        self._stems.clear()
        self._pretrained.clear()
        self._material = material
        self._images = self._device.load_pixels(material.pixels, self._room)
        self._device.adapt(self._images.shape[1])
        on_host = self._device.stay_on_host(material.pixels, self._room)
        self._ahead = prefetcher_for(material.pixels) if on_host else None
        self._labels = self._device.tensor(material.labels.astype(np.int32))

    def answer(
        self, message: FitJob | TimingJob | WorkerTask
    ) -> FitOutcome | Timing | TaskDone | JobStopped | JobFailed:
        try:
            if isinstance(message, WorkerTask):
                return TaskDone(message.run(next(reversed(self._engines.values()), None)))
            return self._price(message) if isinstance(message, TimingJob) else self._fit(message)
        except Interrupted:
            return JobStopped()
        except Exception:
            self._engines.clear()
            return JobFailed(traceback.format_exc())

    def _fit(self, job: FitJob) -> FitOutcome:
        """The fit, with batches in parts where they don't find room whole."""
        checkpoints = None if job.checkpoint is None else CheckpointStore(job.checkpoint)
        batch = job.configuration.batch_size
        parts = (checkpoints and _begun_in(checkpoints, batch)) or job.microbatches
        while True:
            others, engine = len(self._engines) > 1, None
            try:
                engine = self._engine(job.configuration, job.protocol, job.updates or _updates(job), parts)
                return self._fit_by(engine, job, checkpoints)
            except Exception as error:
                if not self._device.is_out_of_memory(error):
                    raise
            is_built = engine is not None
            del engine
            self._engines.clear()
            if others:  # networks of other fits may have been in the way
                continue
            if not is_built or parts == batch:
                return FitOutcome(verdict=Verdict.STOPPED, reason=TOO_LARGE)
            parts = next(more for more in range(parts + 1, batch + 1) if batch % more == 0)

    def _fit_by(self, engine: Any, job: FitJob, checkpoints: CheckpointStore | None) -> FitOutcome:
        watch = Watch(job.context, audited=job.audited)
        scorer = metrics.MetricScorer(self._material.metric)
        with heartbeat(engine.work_done, lambda: self._say(Heartbeat())):
            outcome = run_fit(engine, job, self._material.labels, watch, scorer, self._say, self._heed, checkpoints)
        if engine.parts > 1:
            outcome = replace(outcome, start={**outcome.start, PARTS: float(engine.parts)})
        done = self._follow_up(job, engine, scorer, outcome)
        if checkpoints is not None:
            checkpoints.clear()
        return done

    def _follow_up(self, job: FitJob, engine: Any, scorer: metrics.MetricScorer, outcome: FitOutcome) -> FitOutcome:
        """What else was asked for of a fit that learned."""
        if outcome.verdict is not Verdict.LEARNED:
            return outcome

        def predicted(images: Any, shape_ids: IntArray | None) -> FloatArray:
            parts = []
            for first in range(0, images.shape[0], _PREDICTED):
                rows = np.arange(first, min(first + _PREDICTED, images.shape[0]))
                parts.append(engine.logits_of(images, rows, shape_ids))
                self._heed(outcome.epochs)
            return metrics.softmax(np.concatenate(parts))

        corrupted = {}
        if job.corrupt:
            corrupted = corrupted_scores(
                memmap_npy(self._material.pixels),
                job.val,
                self._material.labels[job.val],
                outcome.probabilities,
                lambda images, shape_ids: predicted(self._device.tensor(images), shape_ids),
                scorer.score,
                lambda: self._heed(outcome.epochs),
                job.protocol.images.shapes,
                self._material.shape_ids,
                MOST_THROUGH_BACKBONES if job.configuration.embeds else MOST_IMAGES,
            )
        others = None
        if job.predict is not None:
            others = predicted(self._device.load_pixels(job.predict, None), job.predict_shape_ids)
        return replace(outcome, predicted=others, corrupted=corrupted)

    def _price(self, job: TimingJob) -> Timing:
        if job.configuration.embeds:  # running the backbone is no part of a fit's price
            self._stem(job.configuration, job.protocol).views(job.configuration)
        started = time.monotonic()
        is_traced = self._key(job.configuration, job.protocol, _updates(job)) in self._engines
        engine = self._engine(job.configuration, job.protocol, _updates(job))
        classes, batch = job.protocol.classes, job.configuration.batch_size
        steps = len(job.train) // batch
        rows = job.train[: steps * batch].reshape(steps, batch).astype(np.int32)
        rates = Schedule.planned(2, steps).rates(0)
        engine.begin(0, job.train, balance(np.ones(classes)))

        def run_epoch() -> float:
            engine.train_epoch(rows, rates, 1)
            engine.logits(job.val)
            self._heed(1)
            return time.monotonic()

        traced = ended = started if is_traced else run_epoch()
        epochs = 0
        while job.seconds is not None and (not epochs or ended - traced < job.seconds):
            ended = run_epoch()
            epochs += 1
        return Timing(traced - started, (ended - traced) / max(1, epochs))

    def _engine(self, configuration: Configuration, protocol: TrainingProtocol, updates: int, parts: int = 1) -> Any:
        key = self._key(configuration, protocol, updates, parts)
        engine = self._engines.pop(key, None)
        if engine is None:
            while len(self._engines) >= TRACED:
                del self._engines[next(iter(self._engines))]
            if configuration.embeds:
                engine = self._head(configuration, protocol, updates)
            else:
                engine = self._network(configuration, protocol, updates, parts)
        self._engines[key] = engine  # the last one used comes last
        return engine

    def _network(self, configuration: Configuration, protocol: TrainingProtocol, updates: int, parts: int) -> Any:
        """On images."""
        from search.training.engine import Engine

        return Engine(
            configuration,
            protocol,
            self._images,
            self._labels,
            updates,
            parts,
            shape_ids=self._material.shape_ids,
            pretrained=self._weights_of(configuration.backbone, protocol),
            ahead=self._ahead,
        )

    def _head(self, configuration: Configuration, protocol: TrainingProtocol, updates: int) -> Any:
        """On what a backbone gave once and for all."""
        from search.training.heads.trainer import HeadTrainer

        return HeadTrainer(configuration, protocol, self._stem(configuration, protocol), self._material.labels, updates)

    def _weights_of(self, backbone: str, protocol: TrainingProtocol) -> list[Any]:
        """Its first ones."""
        if backbone == NO_BACKBONE:
            return []
        from search.training.backbones import first_weights

        if backbone not in self._pretrained:
            self._pretrained[backbone] = first_weights(
                backbone, protocol.images.channels, self._material.weights[backbone]
            )
        return self._pretrained[backbone]

    def _stem(self, configuration: Configuration, protocol: TrainingProtocol) -> Any:
        """Its backbone, which runs once for each image."""
        name = configuration.backbone
        if name not in self._stems:
            from search.training.embeddings import FrozenBackbone

            self._stems[name] = FrozenBackbone(
                name,
                protocol.images,
                self._weights_of(name, protocol),
                dict(protocol.weights)[name],
                self._material.pixels,
                self._images,
                self._material.shape_ids,
                lambda: self._heed(0),
            )
        return self._stems[name]

    @staticmethod
    def _key(
        configuration: Configuration, protocol: TrainingProtocol, updates: int, parts: int = 1
    ) -> tuple[str, TrainingProtocol, int, int]:
        """What the graph depends on: of the number of updates only BatchNorm knows, and a backbone that learns."""
        same = replace(protocol, epochs=0)
        known = configuration.normalized or configuration.trainable != "frozen"
        return configuration.hash, same, updates if known else 0, parts

    def _say(self, message: Any) -> None:
        """From any thread."""
        with self._saying:
            self._pipe.send(message)

    def _heed(self, epoch: int) -> None:
        if time.monotonic() >= self._next_beat:
            self._say(Heartbeat())
            self._next_beat = time.monotonic() + _BEAT_SECONDS
        if self._pipe.poll() and self._pipe.recv() == STOP:
            raise Interrupted


def _begun_in(checkpoints: CheckpointStore, batch: int) -> int | None:
    """In how many parts a batch was shown before the fit was cut off, in which it has to end; None if it begins now."""
    begun = checkpoints.load()
    fits = begun is not None and 0 < begun.microbatch_size <= batch and batch % begun.microbatch_size == 0
    return batch // begun.microbatch_size if begun is not None and fits else None


@contextmanager
def _hidden(packages: Sequence[str]) -> Iterator[None]:
    """Inside, these packages seem not to be installed, unless they are loaded already."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: the import system finds nothing
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _updates(job: FitJob | TimingJob) -> int:
    return job.protocol.epochs * (len(job.train) // job.configuration.batch_size)
