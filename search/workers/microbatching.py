"""How much of a batch finds room in a device's memory: found out once for each size of network."""

from __future__ import annotations

from search.records import PARTS, FitOutcome
from search.training.job import FitJob
from spaces.network_size import size


class MicrobatchMemory:
    """Shared by the workers of a session, so that one that is new need not run out of memory to learn it."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], int] = {}  # by weights and batch

    def parts(self, job: FitJob) -> int:
        """That each of its batches is known to need; 1 if nothing is known."""
        return self._parts.get(_kind(job), 1)

    def learn(self, job: FitJob, outcome: FitOutcome) -> None:
        """Take in how a fit went."""
        if PARTS in outcome.start:
            self._parts[_kind(job)] = int(outcome.start[PARTS])


def _kind(job: FitJob) -> tuple[int, int]:
    configuration, protocol = job.configuration, job.protocol
    images = protocol.images
    weights = size(configuration, images.image_size, images.channels, protocol.classes, any_size=images.any_size)
    return weights, configuration.batch_size
