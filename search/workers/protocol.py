"""The messages between a coordinator and its worker processes: plain records over a pipe.

The coordinator sends `TrainingData`, jobs (`FitJob`, `TimingJob`, `WorkerTask`), `STOP` and `QUIT`. A worker sends
`WorkerReady` once, and to each job one answer (`FitOutcome`, `Timing`, `TaskDone`, `JobStopped` or `JobFailed`), with
`Heartbeat`s and the fit's `Check`s before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from search.arrays import IntArray
from search.data.images import ImageSet
from search.settings import TrainingProtocol
from search.workers.devices import Gpu
from spaces.config import Configuration

STOP: Final = "stop"
"""Message: end the job that runs."""

QUIT: Final = "quit"
"""Message: end the process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerResources:
    """The part of the machine that one worker process may use."""

    threads: int | None  # of the CPU; None leaves it to TensorFlow
    gpu: Gpu | None
    log: Path  # file for TensorFlow's own messages
    memory: int | None = None  # bytes of main memory: a process that has grown beyond it is replaced; None: no limit


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """The images that all fits of a worker train on."""

    pixels: Path  # (n, side, side, channels) uint8 .npy
    labels: IntArray  # (n,) 0..K-1
    metric: str
    shape_ids: IntArray | None = None  # (n,) index of each image's shape in the protocol's `images.shapes`
    weights: Mapping[str, Path | None] = field(default_factory=dict)  # file by backbone; None: random weights

    @classmethod
    def of(cls, images: ImageSet, metric: str, weights: Mapping[str, Path | None] | None = None) -> TrainingData:
        """The training data of an image set.

        Args:
            images: the image set, whose pixels lie in a file.
            metric: name of the study's metric.
            weights: file by backbone; None where no configuration has a backbone.
        """
        return cls(
            pixels=images.path, labels=images.labels, metric=metric, shape_ids=images.shape_ids, weights=weights or {}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingJob:
    """Job: time the epochs of a configuration."""

    configuration: Configuration
    protocol: TrainingProtocol
    train: IntArray  # (m,) rows of the training images among all images
    val: IntArray  # (v,) rows of the validation images
    seconds: float | None  # to spend on epochs after the first, at least one of them; None: only build and trace


class WorkerTask(ABC):
    """Job: anything else that needs TensorFlow. The object is sent to the worker and runs there."""

    @abstractmethod
    def run(self, engine: Any) -> Any:
        """Return what is to be sent back. `engine` holds the last fit's network; None before any fit."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """Message: TensorFlow is loaded."""

    device: str  # name of the GPU, or "CPU"
    on_gpu: bool
    versions: dict[str, str]  # of tensorflow and keras
    seconds: float  # that loading took


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Message: the job advances."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Answer to a `TimingJob`, in seconds; 0 for what was not measured."""

    trace: float  # to build and trace the network, first epoch included
    epoch: float  # of an epoch after that


@dataclass(frozen=True, slots=True)
class TaskDone:
    """Answer to a `WorkerTask`: what its `run` returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class JobStopped:
    """Answer to a job that was ended by `STOP`."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """Answer to a job that raised, or in place of `WorkerReady`; the text is the traceback."""

    text: str
