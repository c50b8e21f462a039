"""Microbatches: parts of a batch that go through the network one after the other when memory is short."""

from __future__ import annotations

from search.records import MICROBATCHES, FitOutcome
from search.training.job import FitJob
from spaces.network_size import size


class MicrobatchMemory:
    """Number of microbatches that fits needed, by number of weights and batch size.

    The workers of a session share it, so that not each of them has to run out of memory first.
    """

    def __init__(self) -> None:
        self._microbatches: dict[tuple[int, int], int] = {}  # by number of weights and batch size

    def microbatches(self, job: FitJob) -> int:
        """Return the number of microbatches that an earlier fit of the job's size needed; 1 if there was none."""
        return self._microbatches.get(_size_key(job), 1)

    def learn(self, job: FitJob, outcome: FitOutcome) -> None:
        """Record the number of microbatches that a fit needed; ignored if it was one."""
        if MICROBATCHES in outcome.start:
            self._microbatches[_size_key(job)] = int(outcome.start[MICROBATCHES])


def _size_key(job: FitJob) -> tuple[int, int]:
    configuration, protocol = job.configuration, job.protocol
    images = protocol.images
    weights = size(configuration, images.image_size, images.channels, protocol.classes, any_size=images.any_size)
    return weights, configuration.batch_size
