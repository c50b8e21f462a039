"""A change to a network or to its training, as data: what is to be edited, and the lines that a person would write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetLearningRate:
    """Another learning rate."""

    value: float


@dataclass(frozen=True, slots=True)
class SetClipnorm:
    """Another limit for the norm of each gradient; None: no clipping of any kind."""

    norm: float | None


@dataclass(frozen=True, slots=True)
class SetLoss:
    """Another loss, by its canonical name, averaged over the batch."""

    name: str
    from_logits: bool = False


@dataclass(frozen=True, slots=True)
class AverageLoss:
    """The same loss, averaged over the batch instead of summed."""


@dataclass(frozen=True, slots=True)
class SetActivation:
    """Another activation for these layers."""

    layers: tuple[str, ...]
    activation: str


@dataclass(frozen=True, slots=True)
class SetInitializer:
    """Another kernel initializer for these layers; their biases start at zero."""

    layers: tuple[str, ...]
    initializer: str


@dataclass(frozen=True, slots=True)
class ScalePenalties:
    """All weight penalties times this factor; 0 leaves them out."""

    factor: float


@dataclass(frozen=True, slots=True)
class LimitDropout:
    """No dropout layer with a higher rate than this."""

    rate: float


@dataclass(frozen=True, slots=True)
class Unfreeze:
    """These layers can change; all of them if None."""

    layers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SetBatchNormMomentum:
    """Another momentum for all BatchNorm layers that can change."""

    value: float


@dataclass(frozen=True, slots=True)
class RescaleInput:
    """The network is fed `x * scale + offset` instead of `x`."""

    scale: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class RemoveLayers:
    """These layers are left out."""

    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InsertBatchNorm:
    """BatchNorm between each of these layers and its activation."""

    layers: tuple[str, ...]
    momentum: float


@dataclass(frozen=True, slots=True)
class SetUnits:
    """These layers get this number of units or filters."""

    layers: tuple[str, ...]
    units: int


@dataclass(frozen=True, slots=True)
class SetLabelForm:
    """Labels are given as "int", "onehot" or "binary"."""

    form: str


@dataclass(frozen=True, slots=True)
class SetClassWeights:
    """Another weight of each class in the loss; None: none."""

    weights: Mapping[int, float] | None


@dataclass(frozen=True, slots=True)
class SetEpochs:
    """Another number of epochs."""

    number: int


@dataclass(frozen=True, slots=True)
class RemoveAugmentation:
    """Without the user's own AUGMENT."""


@dataclass(frozen=True, slots=True)
class ReplacePreprocessing:
    """Without the user's own PREPROCESS, pixels times `scale`."""

    scale: float


Edit = (
    SetLearningRate
    | SetClipnorm
    | SetLoss
    | AverageLoss
    | SetActivation
    | SetInitializer
    | ScalePenalties
    | LimitDropout
    | Unfreeze
    | SetBatchNormMomentum
    | RescaleInput
    | RemoveLayers
    | InsertBatchNorm
    | SetUnits
    | SetLabelForm
    | SetClassWeights
    | SetEpochs
    | RemoveAugmentation
    | ReplacePreprocessing
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change that would cure a cause."""

    code: str  # of the cause, of `search.causes.CAUSES`
    summary: str  # in half a sentence
    lines: str  # the code to write
    size: int  # 1 a number or a line, 2 a layer here or there, 3 several things at once
    edits: tuple[Edit, ...]


def joined(first: Change, second: Change) -> Change:
    """Both changes at once, named after the first."""
    return Change(
        code=first.code,
        summary=f"{first.summary}, and {second.summary}",
        lines=f"{first.lines}\n{second.lines}",
        size=3,
        edits=(*first.edits, *second.edits),
    )
