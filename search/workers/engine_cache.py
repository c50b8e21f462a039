"""Cache of a worker process between fits: images on the device, and the most recently used networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from search.settings import TrainingProtocol
from search.training.prefetch import prefetcher_for
from search.workers.protocol import TrainingData
from spaces.backbones import NO_BACKBONE
from spaces.config import Configuration

MAX_ENGINES: Final = 8
"""Most trainers in the cache. The fits of a trial come in a row; those of the finalists alternate."""


class EngineCache:
    """The training data on the device, and the most recently used trainers.

    Args:
        device: the module `search.training.device`, after `set_up`.
        gpu_memory: bytes of the GPU's memory that this process may use; None on a CPU.
        check_stop: called regularly during long computations; raises `Interrupted` to end the job.

    Attributes:
        data: the training data that was set last.
    """

    def __init__(self, device: Any, gpu_memory: int | None, check_stop: Callable[[], None]) -> None:
        self._device, self._gpu_memory, self._check_stop = device, gpu_memory, check_stop
        self._engines: dict[tuple[str, TrainingProtocol, int, int], Any] = {}  # the most recently used comes last
        self._first_weights: dict[str, list[Any]] = {}  # by backbone
        self._frozen_backbones: dict[str, Any] = {}
        self.data: TrainingData
        self._images: Any
        self._labels: Any
        self._prefetcher: Any

    def __len__(self) -> int:
        return len(self._engines)

    @property
    def last(self) -> Any:
        """The most recently used trainer; None if there is none."""
        return next(reversed(self._engines.values()), None)

    def clear(self) -> None:
        """Drop all trainers: after an error their networks may be broken, or take up memory."""
        self._engines.clear()

    def set_data(self, data: TrainingData) -> None:
        """Load the images and labels of all further fits, and drop everything cached for earlier ones."""
        self._engines.clear()
        self._frozen_backbones.clear()
        self._first_weights.clear()
        self.data = data
        self._images = self._device.load_pixels(data.pixels, self._gpu_memory)
        self._device.adapt(self._images.shape[1])
        on_host = self._device.stay_on_host(data.pixels, self._gpu_memory)
        self._prefetcher = prefetcher_for(data.pixels) if on_host else None
        self._labels = self._device.tensor(data.labels.astype(np.int32))

    def is_traced(self, configuration: Configuration, protocol: TrainingProtocol, updates: int) -> bool:
        """Whether the cache holds a trainer for these arguments of `engine` (with one microbatch)."""
        return _key(configuration, protocol, updates, 1) in self._engines

    def engine(
        self, configuration: Configuration, protocol: TrainingProtocol, updates: int, microbatches: int = 1
    ) -> Any:
        """Return the trainer of a configuration's network: `Engine`, or `HeadTrainer` on a frozen backbone.

        Args:
            configuration: configuration of the network.
            protocol: training protocol of the study.
            updates: optimizer steps of a whole fit.
            microbatches: number of parts that each batch is split into, a divisor of the batch size.
        """
        key = _key(configuration, protocol, updates, microbatches)
        engine = self._engines.pop(key, None)
        if engine is None:
            while len(self._engines) >= MAX_ENGINES:
                del self._engines[next(iter(self._engines))]
            if configuration.embeds:
                engine = self._new_head_trainer(configuration, protocol, updates)
            else:
                engine = self._new_engine(configuration, protocol, updates, microbatches)
        self._engines[key] = engine  # the most recently used comes last
        return engine

    def frozen_backbone(self, configuration: Configuration, protocol: TrainingProtocol) -> Any:
        """Return the `FrozenBackbone` of a configuration with a frozen backbone; cached by the backbone's name."""
        name = configuration.backbone
        if name not in self._frozen_backbones:
            from search.training.embeddings import FrozenBackbone

            self._frozen_backbones[name] = FrozenBackbone(
                name,
                protocol.images,
                self._weights_of(name, protocol),
                dict(protocol.weights)[name],
                self.data.pixels,
                self._images,
                self.data.shape_ids,
                self._check_stop,
            )
        return self._frozen_backbones[name]

    def _new_engine(
        self, configuration: Configuration, protocol: TrainingProtocol, updates: int, microbatches: int
    ) -> Any:
        from search.training.engine import Engine

        return Engine(
            configuration,
            protocol,
            self._images,
            self._labels,
            updates,
            microbatches,
            shape_ids=self.data.shape_ids,
            pretrained=self._weights_of(configuration.backbone, protocol),
            prefetcher=self._prefetcher,
        )

    def _new_head_trainer(self, configuration: Configuration, protocol: TrainingProtocol, updates: int) -> Any:
        from search.training.heads.trainer import HeadTrainer

        backbone = self.frozen_backbone(configuration, protocol)
        return HeadTrainer(configuration, protocol, backbone, self.data.labels, updates)

    def _weights_of(self, backbone: str, protocol: TrainingProtocol) -> list[Any]:
        """The weights that a backbone starts with."""
        if backbone == NO_BACKBONE:
            return []
        from search.training.backbones import first_weights

        if backbone not in self._first_weights:
            self._first_weights[backbone] = first_weights(
                backbone, protocol.images.channels, self.data.weights[backbone]
            )
        return self._first_weights[backbone]


def _key(
    configuration: Configuration, protocol: TrainingProtocol, updates: int, microbatches: int
) -> tuple[str, TrainingProtocol, int, int]:
    """All that a traced graph depends on: the number of updates only with BatchNorm or a backbone that learns."""
    uses_updates = configuration.normalized or configuration.trainable != "frozen"
    return configuration.hash, replace(protocol, epochs=0), updates if uses_updates else 0, microbatches
