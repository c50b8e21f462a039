"""Features of all images by the backbones of the first configurations, before the first trial."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from search.data.block_file import BLOCK
from search.events import Listener
from search.fits.executor import LocalExecutor
from search.settings import TrainingProtocol
from search.workers.errors import WorkerError, last_line
from search.workers.interfaces import Worker, WorkerPool
from search.workers.protocol import EmbeddingJob
from spaces.config import Configuration

_log = logging.getLogger(__name__)


def make_features(
    starts: Sequence[Configuration],
    protocol: TrainingProtocol,
    images: int,
    pool: WorkerPool,
    listener: Listener,
    seconds: float | None,
) -> None:
    """Embed all images by each frozen backbone of the first configurations, shared by all workers of this host.

    Embeddings are written to the disk cache block by block, where the trials find them: what an interrupted session has
    made is not made again. A block that fails is logged; the trial that needs it meets the error.

    Args:
        starts: configurations that are tried first.
        protocol: the study's training protocol.
        images: number of images.
        pool: this host's workers.
        listener: notified of the stage and its progress.
        seconds: time after which no further backbone is begun: a trial then makes its own features. None: no limit.

    Raises:
        Stopped: the session is to end.
    """
    blocks = range(-(-images // BLOCK))
    started = time.monotonic()
    for configuration in _with_features(starts):
        if seconds is not None and time.monotonic() - started > seconds:
            return
        side = protocol.seen_by(configuration).images.image_size
        listener.stage(f"Computing features of {images:,} images: {configuration.backbone}, {side} x {side} pixels")
        progress = _Progress(listener, images)

        def embed(
            worker: Worker, block: int, wanted: Configuration = configuration, done: _Progress = progress
        ) -> None:
            try:
                worker.embed(EmbeddingJob(configuration=wanted, protocol=protocol, block=block))
            except WorkerError as error:
                _log.warning("Features of %s could not be made: %s", wanted.backbone, last_line(str(error)))
            done.add(min(BLOCK, images - block * BLOCK))

        LocalExecutor(pool).run("features", blocks, embed)


def _with_features(starts: Sequence[Configuration]) -> list[Configuration]:
    """The first configuration for each frozen backbone and resolution."""
    first: dict[tuple[str, int], Configuration] = {}
    for start in starts:
        if start.embeds:
            first.setdefault((start.backbone, start.resolution), start)
    return list(first.values())


class _Progress:
    """Counts the images that are done, from several threads."""

    def __init__(self, listener: Listener, images: int) -> None:
        self._listener, self._images, self._done, self._lock = listener, images, 0, threading.Lock()

    def add(self, images: int) -> None:
        with self._lock:
            self._done += images
            self._listener.progress("images", self._done, self._images)
