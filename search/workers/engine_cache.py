"""Cache of a worker process between fits: images on the device, and the most recently used networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from search.settings import TrainingProtocol
from search.training.prefetch import prefetcher_for
from search.workers.protocol import TrainingData
from spaces.backbones import BACKBONES, NO_BACKBONE
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
        self._first_weights: dict[tuple[str, int | None], list[Any]] = {}  # by backbone and side of the images
        self._frozen_backbones: dict[tuple[str, int], Any] = {}  # by name and resolution
        self._images: dict[Path, tuple[Any, Any]] = {}  # pixels on the device, and their prefetcher
        self.data: TrainingData
        self._labels: Any

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
        self._images.clear()
        self.data = data
        self.load(data.pixels)
        self._labels = self._device.tensor(data.labels.astype(np.int32))

    def load(self, path: Path) -> tuple[Any, Any]:
        """Return the pixels of a file on the device, and the prefetcher of a file that stays on the host, if any.

        Networks that are traced from now on are those of these images.
        """
        if path not in self._images:
            on_host = self._device.stay_on_host(path, self._gpu_memory)
            pixels = self._device.load_pixels(path, self._gpu_memory)
            self._images[path] = pixels, prefetcher_for(path) if on_host else None
        pixels, prefetcher = self._images[path]
        self._device.adapt(pixels.shape[1])
        return pixels, prefetcher

    def seen_by(
        self, configuration: Configuration, protocol: TrainingProtocol
    ) -> tuple[TrainingProtocol, TrainingData]:
        """Return the protocol and the data with the images as the network of a configuration gets them.

        They are the study's, or squares of the resolution that the configuration gives its backbone.
        """
        path = self.data.at(configuration.resolution, protocol.images.image_size)
        if path == self.data.pixels:
            return protocol, self.data
        return protocol.seen_by(configuration), replace(self.data, pixels=path, shape_ids=None)

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
            if configuration.is_closed_form:
                engine = self._new_linear_classifier(configuration, protocol)
            elif configuration.embeds:
                engine = self._new_head_trainer(configuration, protocol, updates)
            else:
                engine = self._new_engine(configuration, protocol, updates, microbatches)
        self._engines[key] = engine  # the most recently used comes last
        return engine

    def frozen_backbone(self, configuration: Configuration, protocol: TrainingProtocol) -> Any:
        """Return the `FrozenBackbone` of a configuration with a frozen backbone; cached by name and resolution."""
        protocol, data = self.seen_by(configuration, protocol)
        name, key = configuration.backbone, (configuration.backbone, configuration.resolution)
        if key not in self._frozen_backbones:
            from search.training.embeddings import FrozenBackbone

            pixels, _ = self.load(data.pixels)
            self._frozen_backbones[key] = FrozenBackbone(
                name,
                protocol.images,
                self._weights_of(name, protocol),
                dict(protocol.weights)[name],
                data.pixels,
                pixels,
                data.shape_ids,
                self._check_stop,
            )
        return self._frozen_backbones[key]

    def _new_engine(
        self, configuration: Configuration, protocol: TrainingProtocol, updates: int, microbatches: int
    ) -> Any:
        from search.training.engine import Engine

        protocol, data = self.seen_by(configuration, protocol)
        pixels, prefetcher = self.load(data.pixels)
        return Engine(
            configuration,
            protocol,
            pixels,
            self._labels,
            updates,
            microbatches,
            shape_ids=data.shape_ids,
            pretrained=self._weights_of(configuration.backbone, protocol),
            prefetcher=prefetcher,
        )

    def _new_head_trainer(self, configuration: Configuration, protocol: TrainingProtocol, updates: int) -> Any:
        from search.training.heads.trainer import HeadTrainer

        backbone = self.frozen_backbone(configuration, protocol)
        protocol, data = self.seen_by(configuration, protocol)
        return HeadTrainer(configuration, protocol, backbone, data.labels, updates)

    def _new_linear_classifier(self, configuration: Configuration, protocol: TrainingProtocol) -> Any:
        from search.training.heads.linear_classifier import LinearClassifier

        backbone = self.frozen_backbone(configuration, protocol)
        protocol, data = self.seen_by(configuration, protocol)
        return LinearClassifier(configuration, protocol, backbone, data.labels, data.groups)

    def _weights_of(self, backbone: str, protocol: TrainingProtocol) -> list[Any]:
        """The weights that a backbone starts with."""
        if backbone == NO_BACKBONE:
            return []
        from search.training.backbones import first_weights

        side = None if protocol.images.any_size else protocol.images.image_size
        key = backbone, side if BACKBONES[backbone].is_transformer else None
        if key not in self._first_weights:
            self._first_weights[key] = first_weights(
                backbone, protocol.images.channels, self.data.weights[backbone], side
            )
        return self._first_weights[key]


def _key(
    configuration: Configuration, protocol: TrainingProtocol, updates: int, microbatches: int
) -> tuple[str, TrainingProtocol, int, int]:
    """All that a traced graph depends on: the number of updates only with BatchNorm or a backbone that learns."""
    uses_updates = configuration.normalized or configuration.trainable != "frozen"
    return configuration.hash, replace(protocol, epochs=0), updates if uses_updates else 0, microbatches
