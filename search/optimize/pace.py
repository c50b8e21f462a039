"""What takes too long is known before it is trained, where something that costs no more took too long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from search.records import TOO_SLOW, Fit
from search.training.lr_schedule import fit_seconds
from spaces.backbones import BACKBONES, NO_BACKBONE, TRAINABLE
from spaces.config import Configuration

_LARGER_BATCH: Final = 1.5  # times as fast as a smaller one a network on a backbone may be at most


class SlowConfigurations:
    """Of backbones that run in each epoch. What costs more among networks from scratch is not told by so few words."""

    def __init__(self) -> None:
        self._slow: list[tuple[Configuration, float]] = []

    def learn(self, configuration: Configuration, fits: Iterable[Fit]) -> None:
        """Take in a trial: its fits that took too long."""
        if not _is_priced(configuration):
            return
        took = [fit.evidence["epoch_seconds"] for fit in fits if fit.reason == TOO_SLOW and fit.seconds]
        self._slow += [(configuration, seconds) for seconds in took]

    def too_slow(self, configuration: Configuration, epochs: int, limit: float | None) -> dict[str, float] | None:
        """The numbers that say that a fit would take longer than `limit` seconds; None if nothing says so."""
        if limit is None or not _is_priced(configuration):
            return None
        least = max((_least(configuration, *known) for known in self._slow), default=0.0)
        return {"epoch_seconds": least, "limit_seconds": limit} if fit_seconds(least, epochs) > limit else None


def _is_priced(configuration: Configuration) -> bool:
    return configuration.backbone != NO_BACKBONE and not configuration.embeds


def _least(configuration: Configuration, slow: Configuration, seconds: float) -> float:
    """Seconds an epoch that it takes at least if the slow one takes so many; 0 if it may cost less."""
    order = list(BACKBONES)
    smaller = order.index(configuration.backbone) < order.index(slow.backbone)
    if smaller or TRAINABLE.index(configuration.trainable) < TRAINABLE.index(slow.trainable):
        return 0.0
    return seconds / _LARGER_BATCH if configuration.batch_size > slow.batch_size else seconds
