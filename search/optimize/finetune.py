"""Fine-tuning candidates: the best heads on frozen backbones, which are cheap, with more of their backbones trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from spaces.backbones import TRAINABLE, embeds
from spaces.config import Configuration, Value
from spaces.presets import KNOWN_TRANSFER
from spaces.space import Space

FIRST: Final = 20
"""Number of heads that are judged before the best of them is fine-tuned; then twice as many, and so on."""

RATE: Final = 1e-4
"""Peak learning rate of a fine-tuned backbone: of the order that Keras' guide to transfer learning gives."""


_, *_MORE = TRAINABLE
_LEAST_SHARE: Final = 0.01  # of the learning rate, that spaces offer


@dataclass(frozen=True, slots=True)
class JudgedTrial:
    """A trial that ended: its configuration, and its value unless it was stopped."""

    values: Mapping[str, Value]
    value: float | None

    @property
    def is_head(self) -> bool:
        """Whether only the head on the frozen backbone was trained."""
        return embeds(*(str(self.values[name]) for name in ("backbone", "trainable", "statistics")))


def finetune_candidates(judged: Sequence[JudgedTrial], space: Space) -> list[Configuration]:
    """Configurations worth a trial, in order: the best heads so far with more of their backbones trained.

    The best of the first `FIRST` heads, and of each doubling of them, stays a candidate however many heads follow, so
    that a resumed search proposes the same.

    Args:
        judged: all trials that ended, in the order of their places.
        space: of the search; candidates that it does not hold are left out.
    """
    more = [trainable for trainable in _MORE if trainable in space.definitions["trainable"]]
    if not space.backbones or not more:
        return []
    heads, count = [trial for trial in judged if trial.is_head], FIRST
    candidates: dict[str, Configuration] = {}
    while len(heads) >= count:
        ranks = [(head.value, -place) for place, head in enumerate(heads[:count]) if head.value is not None]
        if ranks:
            best = _with_layers(Configuration(**heads[-max(ranks)[1]].values))  # type: ignore[arg-type]
            share = min(1.0, max(_LEAST_SHARE, RATE / best.learning_rate))
            for trainable in more:
                near = space.nearest(replace(best, trainable=trainable, backbone_rate=share))
                if near is not None:
                    candidates.setdefault(near.hash, near)
        count *= 2
    return list(candidates.values())


def _with_layers(head: Configuration) -> Configuration:
    """The same features with a head of layers, from which fine-tuning can start; `head` itself if it has layers."""
    if not head.is_closed_form:
        return head
    known, *_ = KNOWN_TRANSFER
    same = ("backbone", "head", "resolution", "class_weighting")
    return replace(known, **{name: getattr(head, name) for name in same})
