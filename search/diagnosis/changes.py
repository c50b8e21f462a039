"""Changes to a network or to its training, as data: the edits, and the lines of code that a person would write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetLearningRate:
    """Set another learning rate."""

    value: float


@dataclass(frozen=True, slots=True)
class SetClipnorm:
    """Limit the norm of each gradient; None removes clipping of any kind."""

    norm: float | None


@dataclass(frozen=True, slots=True)
class SetLoss:
    """Set another loss, by its canonical name, averaged over the batch."""

    name: str
    from_logits: bool = False


@dataclass(frozen=True, slots=True)
class AverageLoss:
    """Average the loss over the batch instead of summing it."""


@dataclass(frozen=True, slots=True)
class SetActivation:
    """Set another activation of these layers."""

    layers: tuple[str, ...]
    activation: str


@dataclass(frozen=True, slots=True)
class SetInitializer:
    """Set another kernel initializer of these layers; their biases start at zero."""

    layers: tuple[str, ...]
    initializer: str


@dataclass(frozen=True, slots=True)
class ScalePenalties:
    """Multiply all weight penalties by this factor; 0 removes them."""

    factor: float


@dataclass(frozen=True, slots=True)
class LimitDropout:
    """Lower the rate of all dropout layers to at most this."""

    rate: float


@dataclass(frozen=True, slots=True)
class Unfreeze:
    """Make these layers trainable; all layers if None."""

    layers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SetBatchNormMomentum:
    """Set another momentum of all trainable BatchNorm layers."""

    value: float


@dataclass(frozen=True, slots=True)
class RescaleInput:
    """Feed the network `x * scale + offset` instead of `x`."""

    scale: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class RemoveLayers:
    """Remove these layers; what feeds them feeds the layers behind them."""

    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InsertBatchNorm:
    """Insert BatchNorm between each of these layers and its activation."""

    layers: tuple[str, ...]
    momentum: float


@dataclass(frozen=True, slots=True)
class SetUnits:
    """Give these layers this number of units or filters."""

    layers: tuple[str, ...]
    units: int


@dataclass(frozen=True, slots=True)
class SetLabelForm:
    """Give the labels as "int", "onehot" or "binary"."""

    form: str


@dataclass(frozen=True, slots=True)
class SetClassWeights:
    """Set another weight of each class in the loss; None removes the weights."""

    weights: Mapping[int, float] | None


@dataclass(frozen=True, slots=True)
class SetEpochs:
    """Train another number of epochs."""

    number: int


@dataclass(frozen=True, slots=True)
class RemoveAugmentation:
    """Remove the user's own AUGMENT."""


@dataclass(frozen=True, slots=True)
class ReplacePreprocessing:
    """Replace the user's own PREPROCESS by multiplication of the raw pixels with `scale`."""

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
    """One change that would fix a cause."""

    code: str  # of the cause, of `search.causes.CAUSES`
    summary: str  # in half a sentence
    lines: str  # the code to write
    size: int  # 1 a number or a line, 2 a layer here or there, 3 several things at once
    edits: tuple[Edit, ...]


def joined(first: Change, second: Change) -> Change:
    """Combine two changes into one, named after the first."""
    return Change(
        code=first.code,
        summary=f"{first.summary}, and {second.summary}",
        lines=f"{first.lines}\n{second.lines}",
        size=3,
        edits=(*first.edits, *second.edits),
    )
