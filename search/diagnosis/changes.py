"""Changes to a network or to its training, as data: edits to apply, and the lines of code for the user to write."""

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
    """Lower the rate of all dropout layers to at most `rate`."""

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
    """Remove these layers; their inputs go to the layers behind them."""

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
    """A change that may fix a cause."""

    code: str  # code of the suspected cause, a key of `search.causes.CAUSES`
    summary: str  # the change in half a sentence
    lines: str  # lines of code to write
    size: int  # 1: a number or a line, 2: a layer here or there, 3: several things at once
    edits: tuple[Edit, ...]  # applied in this order


def joined(first: Change, second: Change) -> Change:
    """Combine two changes into one of size 3, with the code of the first."""
    return Change(
        code=first.code,
        summary=f"{first.summary}, and {second.summary}",
        lines=f"{first.lines}\n{second.lines}",
        size=3,
        edits=(*first.edits, *second.edits),
    )
