"""Messages between a coordinator and its worker processes: plain records over a pipe.

The coordinator sends `TrainingData`, jobs (`FitJob`, `TimingJob`, `EmbeddingJob`, `WorkerTask`), `STOP` and `QUIT`. A
worker sends `WorkerReady` once, and to each job one answer (`FitOutcome`, `Timing`, `TaskDone`, `JobStopped` or
`JobFailed`), with `Heartbeat`s and the fit's `Check`s before it.
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
"""Message: end the running job."""

QUIT: Final = "quit"
"""Message: end the process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerResources:
    """The part of the machine that one worker process may use."""

    threads: int | None  # number of CPU threads; None: TensorFlow decides
    gpu: Gpu | None  # None: the CPU
    log: Path  # file for TensorFlow's own messages
    memory: int | None = None  # bytes of main memory; a process that uses more is replaced. None: no limit


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """The images that all fits of a worker train on."""

    pixels: Path  # (n, side, side, channels) uint8 .npy
    labels: IntArray  # (n,) 0..K-1
    metric: str  # name of the study's metric
    shape_ids: IntArray | None = None  # (n,) index of each image's shape in the protocol's `images.shapes`
    weights: Mapping[str, Path | None] = field(default_factory=dict)  # backbone name -> weights file; None: random
    resized: Mapping[int, Path] = field(
        default_factory=dict
    )  # side in pixels -> the same images as squares, as `pixels`
    groups: IntArray | None = None  # (n,) group of each image; None without groups

    def at(self, resolution: int, image_size: int) -> Path:
        """Return the file of the images as a backbone gets them.

        Args:
            resolution: side in pixels, `Configuration.resolution`; 0: the study's images.
            image_size: side of the study's images in pixels.
        """
        if resolution in self.resized:
            return self.resized[resolution]
        if resolution not in (0, image_size):
            raise ValueError(f"there are no images of {resolution} pixels a side, only {sorted(self.resized)}")
        return self.pixels

    @classmethod
    def of(cls, images: ImageSet, metric: str, weights: Mapping[str, Path | None] | None = None) -> TrainingData:
        """Make the training data of an image set.

        Args:
            images: the study's images and labels.
            metric: name of the study's metric.
            weights: backbone name -> weights file (None: random weights); None if there are no backbones.
        """
        return cls(
            pixels=images.path,
            labels=images.labels,
            metric=metric,
            shape_ids=images.shape_ids,
            weights=weights or {},
            resized=images.resized,
            groups=images.groups,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingJob:
    """Job: measure the seconds of an epoch of a configuration."""

    configuration: Configuration
    protocol: TrainingProtocol
    train: IntArray  # (m,) rows of the training images among all images
    val: IntArray  # (v,) rows of the validation images
    seconds: float | None  # time for epochs after the first, of which at least one runs; None: only build and trace


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingJob:
    """Job: embed a block of the study's images by the backbone of a configuration, into the disk cache."""

    configuration: Configuration
    protocol: TrainingProtocol
    block: int  # number of the block of `search.data.block_file.BLOCK` images


class WorkerTask(ABC):
    """Job: any other computation that needs TensorFlow. The object is pickled and sent to the worker."""

    @abstractmethod
    def run(self, engine: Any) -> Any:
        """Compute the result in the worker; it must be picklable. `engine`: trainer of the last fit, or None."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """Message: TensorFlow is loaded."""

    device: str  # name of the GPU, or "CPU"
    on_gpu: bool
    versions: dict[str, str]  # versions of "tensorflow" and "keras"
    seconds: float  # duration of loading


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Message: the running job has advanced since the last heartbeat."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Answer to a `TimingJob`: durations in seconds, 0 if not measured."""

    trace: float  # building and tracing the network, including the first epoch
    epoch: float  # one epoch after the first


@dataclass(frozen=True, slots=True)
class TaskDone:
    """Answer to a `WorkerTask` or an `EmbeddingJob`."""

    value: Any  # result of the task's `run`


@dataclass(frozen=True, slots=True)
class JobStopped:
    """Answer to a job that `STOP` ended."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """Answer to a job that raised, or message instead of `WorkerReady` if loading failed."""

    text: str  # the traceback
