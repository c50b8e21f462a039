"""The kinds of linear heads by name, each with its fit and the strengths that a search tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from search.training.heads.closed_form.discriminant import LEDOIT_WOLF, fit_discriminant
from search.training.heads.closed_form.linear_head import LinearHead
from search.training.heads.closed_form.logistic import fit_logistic
from search.training.heads.closed_form.ridge import fit_ridge
from search.training.heads.closed_form.training_part import TrainingPart


class FitHeads(Protocol):
    """A function that fits a kind of linear head for a whole grid of strengths."""

    def __call__(self, part: TrainingPart, strengths: Sequence[float], /) -> list[LinearHead]:
        """Return a head for each strength, in their order; the larger a strength, the stronger the regularization."""


@dataclass(frozen=True)
class HeadKind:
    """A kind of linear head: how it is fitted, and strengths from so strong that little is left to too weak."""

    fit: FitHeads
    strengths: tuple[float, ...]


def _powers_of_ten(strongest: float, weakest: float, step: float) -> tuple[float, ...]:
    """Return 10 to the power of `strongest`, `strongest` - `step` and so on down to `weakest`."""
    return tuple(float(f"{10 ** (strongest - i * step):.3g}") for i in range(round((strongest - weakest) / step) + 1))


HEADS: Final[Mapping[str, HeadKind]] = MappingProxyType(
    {
        "logistic": HeadKind(fit_logistic, _powers_of_ten(4, 0, 1 / 3)),
        "discriminant": HeadKind(
            fit_discriminant, (1.0, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.65, 0.5, 0.3, 0.15, 0.05, LEDOIT_WOLF)
        ),
        "ridge": HeadKind(fit_ridge, _powers_of_ten(5, 1, 1 / 3)),
    }
)
