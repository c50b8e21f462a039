"""Causes and symptoms of networks that do not learn: their codes and descriptions, without any rules.

A cause is a hypothesis until an experiment confirms it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CAUSES: Final[Mapping[str, str]] = {
    "bad-initializer": "The initial weights are so small or so large that signals vanish or explode from layer to "
    "layer.",
    "batchnorm-momentum": "BatchNorm's moving averages are still close to their initial values when they are used.",
    "bottleneck": "A layer with only one or two units passes on too little information.",
    "clipnorm-too-small": "Gradients are clipped so strongly that the weights hardly change.",
    "dead-relu": "All ReLU units of a layer output zero for every image, so no gradient flows through it.",
    "double-softmax": "Softmax is applied twice, which makes the gradient very small.",
    "excessive-augmentation": "Augmentation destroys the features that distinguish the classes.",
    "exploding-gradient": "Gradients grow from layer to layer until the weights make huge jumps.",
    "frozen-all": "All layers are frozen, so no weight can change.",
    "frozen-backbone-batchnorm": "The BatchNorm statistics of the frozen network come from other images or another "
    "pixel scale.",
    "input-scaled-twice": "The pixels are scaled down twice, so the input is almost zero.",
    "lr-too-high": "The learning rate is so high that the weights jump past every solution.",
    "lr-too-low": "The learning rate is so low that the weights hardly change within the given epochs.",
    "majority-class": "One class is so frequent that always predicting it gives a low loss.",
    "missing-output-activation": "The output layer has no activation, but the loss expects probabilities.",
    "nan": "Losses or weights become infinite or undefined.",
    "no-nonlinearity": "The hidden layers have no activation, so together they are equivalent to one linear layer.",
    "relu-on-output": "A ReLU on the output layer cuts off the negative values that the loss needs.",
    "softmax-on-one-unit": "Softmax over a single unit is always 1.",
    "sum-not-mean-loss": "The loss is summed over the batch instead of averaged, which multiplies every step by the "
    "batch size.",
    "tied-constant-init": "All units of a layer start with the same weights and stay the same.",
    "too-few-filters": "The network has too few filters to carry the signal.",
    "too-much-dropout": "Dropout removes nearly all of the signal that the next layer needs.",
    "too-strong-l2": "The weight penalty dominates the loss and pulls the weights to zero.",
    "unscaled-input": "The network gets raw pixels from 0 to 255 instead of values around 0 to 1.",
    "vanishing-gradient": "Gradients vanish on their way back, so the first layers do not learn.",
    "wrong-loss-pairing": "The loss, the output activation and the format of the labels do not match.",
    "zero-variance-features": "The input of the last layer is nearly the same for every image.",
    "label-noise": "The labels do not seem to match the images.",
    "leak": "Some validation images are also training images.",
    "too-few-images": "There are too few images to learn from, or to measure whether anything was learned.",
}
"""Code of a cause -> its description, one sentence for the user."""


THRESHOLD: Final = "threshold"
BATCHNORM: Final = "batchnorm"
SLOW: Final = "slow"
MEMORISER: Final = "memoriser"
MINORITY: Final = "minority"
CHANCE: Final = "chance"

SYMPTOMS: Final[Mapping[str, str]] = {
    THRESHOLD: "ranks the images well, but its decision threshold never selects one of the classes",
    BATCHNORM: "at chance with BatchNorm's moving statistics, good once the statistics were re-estimated",
    SLOW: "had only begun to learn at its last epoch; more epochs or a higher learning rate would help",
    MEMORISER: "memorized its training images and is at chance on others",
    MINORITY: "never predicts one of the classes, although it distinguishes the others",
    CHANCE: "finished no better than chance",
}
"""Code of a symptom -> its description, a clause about a fit that ran to its last epoch. No symptom is a collapse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """One suspected cause of a collapse, with its evidence.

    Raises:
        ValueError: `code` is not in `CAUSES`.
    """

    code: str  # a key of `CAUSES`
    score: float  # 0..1, strength of the evidence; orders the causes, but is not a probability
    layer: str | None = None  # name of the layer concerned; None if it is not about a single layer
    evidence: Mapping[str, float | str] = field(default_factory=dict)  # the measurements and settings that suggest it
    confirmed: bool | None = None  # whether the fix worked when it was tried; None if it was not tried

    def __post_init__(self) -> None:
        if self.code not in CAUSES:
            raise ValueError(f"code must be one of {', '.join(CAUSES)}, got {self.code!r}.")
