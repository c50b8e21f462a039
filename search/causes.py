"""Vocabulary of the reasons why a network does not learn: causes and symptoms. Words only, no rules.

A cause is a hypothesis until an experiment confirms it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CAUSES: Final[Mapping[str, str]] = {
    "bad-initializer": "The initial weights are so small or so large that signals fade or blow up from layer to layer.",
    "batchnorm-momentum": "BatchNorm's moving averages are still mostly their initial values when they are used.",
    "bottleneck": "A layer of one or two units lets too little through.",
    "clipnorm-too-small": "Gradients are clipped so hard that the weights hardly move.",
    "dead-relu": "Whole layers of ReLU units give zero for every image, so no gradient passes.",
    "double-softmax": "Softmax is applied twice, which flattens the gradient.",
    "excessive-augmentation": "Augmentation destroys what tells the classes apart.",
    "exploding-gradient": "Gradients grow from layer to layer until the weights jump.",
    "frozen-all": "No weight can change: everything is frozen.",
    "frozen-backbone-batchnorm": "The frozen network's BatchNorm statistics belong to other images or another scale.",
    "input-scaled-twice": "The pixels are scaled down twice, so the network sees almost nothing.",
    "lr-too-high": "The learning rate is so high that the weights jump past every solution.",
    "lr-too-low": "The learning rate is so low that the weights hardly move in the given epochs.",
    "majority-class": "One class is so frequent that always saying it is the easy way out.",
    "missing-output-activation": "The output layer has no activation, but the loss expects probabilities.",
    "nan": "Losses or weights become infinite or undefined.",
    "no-nonlinearity": "The hidden layers are linear, so together they are no more than one linear layer.",
    "relu-on-output": "A ReLU on the output layer cuts off what the loss needs.",
    "softmax-on-one-unit": "Softmax over a single unit is always 1.",
    "sum-not-mean-loss": "The loss is summed over the batch instead of averaged, which multiplies every step.",
    "tied-constant-init": "All units of a layer start equal and stay equal.",
    "too-few-filters": "The network is too narrow to let the signal through.",
    "too-much-dropout": "Dropout removes nearly everything that the next layer would need.",
    "too-strong-l2": "The weight penalty outweighs the loss and pulls the weights to zero.",
    "unscaled-input": "Raw pixels of 0 to 255 go in where values around 0 to 1 are expected.",
    "vanishing-gradient": "Gradients fade on their way back, so the first layers do not learn.",
    "wrong-loss-pairing": "Loss, output activation and labels do not belong together.",
    "zero-variance-features": "What reaches the last layer is nearly the same for every image.",
    "label-noise": "The labels do not seem to belong to the images.",
    "leak": "Images of the validation part also lie in the training part.",
    "too-few-images": "There are too few images to learn from, or to see whether something was learned.",
}
"""Code of a cause -> its meaning in one sentence for people."""


THRESHOLD: Final = "threshold"
BATCHNORM: Final = "batchnorm"
SLOW: Final = "slow"
MEMORISER: Final = "memoriser"
MINORITY: Final = "minority"
CHANCE: Final = "chance"

SYMPTOMS: Final[Mapping[str, str]] = {
    THRESHOLD: "ranks the images well, but its decision threshold leaves a class out",
    BATCHNORM: "lost with BatchNorm's own moving statistics, good once they were estimated anew",
    SLOW: "was still waking up at its last epoch: more epochs or a higher rate would help",
    MEMORISER: "knows its training images by heart and guesses on others",
    MINORITY: "never says one of the classes although it tells the others apart",
    CHANCE: "ran to its end no better than chance",
}
"""Code of a symptom -> how a fit looks that ran to its end without simply learning. No symptom is a collapse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """One suspected cause of a collapse, with its evidence.

    Raises:
        ValueError: `code` is not in `CAUSES`.
    """

    code: str  # of `CAUSES`
    score: float  # 0..1: how much speaks for it; for ordering, not a probability
    layer: str | None = None  # where, if it has a place
    evidence: Mapping[str, float | str] = field(default_factory=dict)  # the numbers and names that speak for it
    confirmed: bool | None = None  # by experiment: its fix works; False: it was tried and does not; None: not tried

    def __post_init__(self) -> None:
        if self.code not in CAUSES:
            raise ValueError(f"unknown cause {self.code!r}; the codes are {', '.join(CAUSES)}.")
