"""From heads on frozen backbones, which cost next to nothing, to fine-tuning what the best of them stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from spaces.backbones import TRAINABLE, embeds
from spaces.config import Configuration, Value
from spaces.space import Space

FIRST: Final = 20
"""Heads that are judged before the best of them is fine-tuned; then twice as many, and so on."""

RATE: Final = 1e-4
"""Peak learning rate of a backbone that is fine-tuned: of the order that Keras' guide to transfer learning gives."""


_, *_MORE = TRAINABLE
_LEAST_SHARE: Final = 0.01  # of the learning rate, that spaces offer


@dataclass(frozen=True, slots=True)
class JudgedTrial:
    """A trial that ended: its configuration, and its value unless it was stopped."""

    values: Mapping[str, Value]
    value: float | None

    @property
    def is_head(self) -> bool:
        """Whether only what stands on its backbone was trained."""
        return embeds(*(str(self.values[name]) for name in ("backbone", "trainable", "statistics")))


def finetune_candidates(judged: Sequence[JudgedTrial], space: Space) -> list[Configuration]:
    """What is worth a try next, in order: the best heads so far with more of their backbones to learn.

    What was found at `FIRST` heads, and at each doubling, stays found however many follow, so that a search that is
    gone on with proposes the same.

    Args:
        judged: all trials that ended, in the order of their places.
        space: what it does not hold is left out.
    """
    more = [trainable for trainable in _MORE if trainable in space.definitions["trainable"]]
    if not space.backbones or not more:
        return []
    heads, count, found = [one for one in judged if one.is_head], FIRST, dict[str, Configuration]()
    while len(heads) >= count:
        some = [(one.value, -place) for place, one in enumerate(heads[:count]) if one.value is not None]
        if some:
            best = Configuration(**heads[-max(some)[1]].values)  # type: ignore[arg-type]
            share = min(1.0, max(_LEAST_SHARE, RATE / best.learning_rate))
            for trainable in more:
                near = space.nearest(replace(best, trainable=trainable, backbone_rate=share))
                if near is not None:
                    found.setdefault(near.hash, near)
        count *= 2
    return list(found.values())
