"""Microbatches: the parts of a batch that fit into a device's memory one after the other."""

from __future__ import annotations

from search.records import MICROBATCHES, FitOutcome
from search.training.job import FitJob
from spaces.network_size import size


class MicrobatchMemory:
    """Number of microbatches that networks of each size needed, shared by the workers of a session.

    With it a new worker need not run out of memory to learn the same.
    """

    def __init__(self) -> None:
        self._microbatches: dict[tuple[int, int], int] = {}  # by number of weights and batch size

    def microbatches(self, job: FitJob) -> int:
        """Return the number of microbatches that each batch of the job is known to need; 1 if nothing is known."""
        return self._microbatches.get(_size_key(job), 1)

    def learn(self, job: FitJob, outcome: FitOutcome) -> None:
        """Record how many microbatches a fit needed, if it was more than one."""
        if MICROBATCHES in outcome.start:
            self._microbatches[_size_key(job)] = int(outcome.start[MICROBATCHES])


def _size_key(job: FitJob) -> tuple[int, int]:
    configuration, protocol = job.configuration, job.protocol
    images = protocol.images
    weights = size(configuration, images.image_size, images.channels, protocol.classes, any_size=images.any_size)
    return weights, configuration.batch_size
