"""Losses that a network may be trained with. An entry in `LOSSES` is all that a loss needs to be searched.

Formulas use only `+ - * / **`, so that each serves NumPy arrays and TensorFlow tensors alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_GAMMA: Final = 2.0  # of the focal loss


@dataclass(frozen=True, kw_only=True, slots=True)
class Modulation:
    """A loss that is a function of the probability p of an image's own class, in place of its cross-entropy -ln p.

    Arguments are arrays of equal shape: `p` and `log_p` of the own class, `cross_entropy` = -ln p in nats.

    Attributes:
        value: `(p, cross_entropy)` -> the loss.
        gradient: `(weights, p, cross_entropy)` -> weights x its derivative by the cross-entropy.
        slope: `(p, log_p)` -> its derivative by p; increasing in p, so that there is one best constant predictor.
    """

    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any, Any], Any]
    slope: Callable[[Any, Any], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """A loss of the logits of one image.

    Attributes:
        sentence: description for the report; "" for none.
        is_logit_adjusted: whether the loss is computed from logits + ln(class share). The logits then treat all classes
            as equally frequent, so class weights and oversampling are not used.
        modulation: function of the cross-entropy that is used in its place; None for the cross-entropy itself. A
            modulated loss takes no label smoothing.
    """

    sentence: str = ""
    is_logit_adjusted: bool = False
    modulation: Modulation | None = None

    @property
    def takes_label_smoothing(self) -> bool:
        """Whether label smoothing changes the loss."""
        return self.modulation is None


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": Loss(),
    # Lin et al., ICCV 2017: (1 - p)^gamma x cross-entropy
    "focal": Loss(
        sentence="The focal loss gives hard images more weight.",
        modulation=Modulation(
            value=lambda p, cross_entropy: (1.0 - p) ** _GAMMA * cross_entropy,
            gradient=lambda weights, p, cross_entropy: (
                weights * (1 - p) ** (_GAMMA - 1) * (1 - p + _GAMMA * p * cross_entropy)
            ),
            slope=lambda p, log_p: (1 - p) ** (_GAMMA - 1) * (_GAMMA * log_p - (1 - p) / p),
        ),
    ),
    # Menon et al., ICLR 2021, with tau = 1
    "logit_adjusted": Loss(
        sentence="The loss is adjusted for the class shares (logit adjustment).", is_logit_adjusted=True
    ),
}
"""Every loss by its name, as configurations and space files write it."""

ADJUSTED: Final = tuple(name for name, loss in LOSSES.items() if loss.is_logit_adjusted)
"""Names of the losses that correct the classes' shares themselves."""
