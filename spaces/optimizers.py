"""The optimizers that a network may be trained with. An entry in `OPTIMIZERS` is all that a variant needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015). Defaults are Keras'.

    Attributes:
        takes_weight_decay: whether weights also decay, apart from the gradient (Loshchilov and Hutter, ICLR 2019).
        beta_1: decay rate of the moving mean of the gradients, per step.
        beta_2: decay rate of the moving mean of their squares, per step.
        epsilon: added to the root of the second mean.
    """

    takes_weight_decay: bool
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


@dataclass(frozen=True, kw_only=True, slots=True)
class Momentum:
    """Gradient descent with Nesterov's momentum and decoupled weight decay.

    Attributes:
        momentum: share of the last step's velocity that is left.
    """

    momentum: float = 0.9

    @property
    def takes_weight_decay(self) -> bool:
        """Whether weights also decay: always."""
        return True


Optimizer = Adam | Momentum

OPTIMIZERS: Final[Mapping[str, Optimizer]] = {
    "adam": Adam(takes_weight_decay=False),
    "adamw": Adam(takes_weight_decay=True),
    "sgd": Momentum(),
}
"""Every optimizer by its name, as configurations and space files write it."""
