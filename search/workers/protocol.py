"""What a coordinator and its worker processes say to each other, as plain records over a pipe between the two."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerResources:
    """Where a worker works: all that it needs to load TensorFlow."""

    threads: int | None  # of the CPU; None leaves it to TensorFlow
    gpu: Gpu | None
    log: Path  # where TensorFlow's own messages go
    memory: int | None = None  # bytes of its own that it may come to hold; None: as much as it likes


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """What a worker trains on; follows when it is there."""

    pixels: Path  # (n, side, side, channels) uint8 .npy
    labels: IntArray
    metric: str
    shape_ids: IntArray | None = None  # (n,) index of each image's shape in the protocol's `images.shapes`
    weights: Mapping[str, Path | None] = field(default_factory=dict)  # of backbones; None: random ones

    @classmethod
    def of(cls, images: ImageSet, metric: str, weights: Mapping[str, Path | None] | None = None) -> TrainingData:
        """These images, without what no fit needs of them, and the files of backbones' weights."""
        return cls(
            pixels=images.path, labels=images.labels, metric=metric, shape_ids=images.shape_ids, weights=weights or {}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingJob:
    """A configuration to time on some rows."""

    configuration: Configuration
    protocol: TrainingProtocol
    train: IntArray
    val: IntArray
    seconds: float | None  # of warm epochs, at least one; None: none, the network is only made ready


class WorkerTask(ABC):
    """Anything else that needs TensorFlow: sent as it is, done in the worker."""

    @abstractmethod
    def run(self, engine: Any) -> Any:
        """Do it there; what comes of it is sent back. `engine` holds the last fit's network, None before any fit."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker is up."""

    device: str
    on_gpu: bool
    versions: dict[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What was asked goes on: an epoch is over, or so many images are predicted. At most one a second is told."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: to build and trace a network, and for a warm epoch; 0 for what was not asked for."""

    trace: float
    epoch: float


@dataclass(frozen=True, slots=True)
class TaskDone:
    """What came of an errand."""

    value: Any


@dataclass(frozen=True, slots=True)
class JobStopped:
    """A fit was ended by `STOP`."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A fit raised; the text is its traceback."""

    text: str


STOP: Final = "stop"
QUIT: Final = "quit"
