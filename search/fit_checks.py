"""Measurements that a fit reports while it runs, and the reasons for which a fit is stopped. Plain values."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final, overload

import numpy as np

LAYER_SIGNALS: Final = (
    "dead_share",  # units (channels) that give 0 for every probe image, after the activation
    "zero_share",  # outputs that are 0
    "scale",  # standard deviation of the outputs over probe images and units
    "weight_scale",  # root mean square of the kernel
    "update_ratio",  # |change of the kernel over the epoch| / |kernel| / steps
    "gradient",  # mean absolute gradient of the kernel at the epoch's first step
    "zero_gradients",  # share of its entries that are exactly 0
)
"""Signals that are measured on each weight layer at a check: the last axis of `Fit.layers`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Measurements of a fit at the end of one epoch: input of the collapse rules. Losses in nats; NaN where unknown.

    Skill is 1 - plain cross-entropy / cross-entropy of the constant predictor at the effective class prior.
    """

    epoch: int  # finished epochs, from 1
    updates: int  # finished optimizer steps
    train_loss: float  # plain cross-entropy of the training batches since the last check, in training mode
    train_skill: float
    val_loss: float  # plain cross-entropy on the validation images; NaN without any
    val_skill: float
    score: float  # the study's metric on the validation images
    auc: float  # mean one-vs-rest area under the curve on the validation images; 0.5 is chance
    top_share: float  # share of validation images given to the most predicted class: 1 is a one-class prediction
    logit_spread: float  # largest over classes of the logit's standard deviation over validation images
    dead_share: float  # largest over hidden layers: share of units that give 0 for every image of the fixed batch
    first_gradient: float  # norm of the first weight layer's gradient, largest since the last check
    last_gradient: float  # the same for the output layer
    update_ratio: float  # |change of the first kernel| / |kernel|, per step, mean since the last check
    finite: bool  # losses, logits and gradients
    warmth: float  # 1 - share of BatchNorm's moving statistics that is still their initial value; 1 without BatchNorm
    stale_skill: float = float("nan")  # val_skill before BatchNorm's statistics were re-estimated; NaN if they were not


_KINDS: Final = {"int": np.int64, "float": np.float64, "bool": np.bool_}
CHECK_DTYPE: Final = np.dtype([(f.name, _KINDS[str(f.type)]) for f in fields(Check)])
"""A check as a row of a table."""


class Checks(Sequence[Check]):
    """The checks of a fit, stored as a table; a `Check` is made only when an element is accessed.

    A study has hundreds of thousands of checks, and only few of them are ever accessed.

    Args:
        table: `(checks,)` structured array of `CHECK_DTYPE`, by epoch.
    """

    def __init__(self, table: np.ndarray[Any, Any]) -> None:
        self.table = table

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Checks:
        """Return checks as a table; a `Checks` is returned unchanged."""
        if isinstance(checks, Checks):
            return checks
        return cls(np.array([astuple(check) for check in checks], dtype=CHECK_DTYPE))

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, place: int) -> Check: ...

    @overload
    def __getitem__(self, place: slice) -> Checks: ...

    def __getitem__(self, place: int | slice) -> Check | Checks:
        selected = self.table[place]
        return Checks(selected) if isinstance(place, slice) else self._check(selected.tolist())

    def __iter__(self) -> Iterator[Check]:
        return map(self._check, self.table.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def _check(self, row: tuple[Any, ...]) -> Check:
        return Check(**dict(zip(self.table.dtype.names or (), row, strict=True)))


def column(checks: Sequence[Check], name: str) -> list[Any]:
    """Return one field of all checks, by epoch, as a list of Python numbers.

    Args:
        checks: checks of a fit; for a `Checks` no `Check` is made.
        name: name of a field of `Check`.
    """
    return checks.table[name].tolist() if isinstance(checks, Checks) else [getattr(check, name) for check in checks]


@dataclass(frozen=True, kw_only=True, slots=True)
class Collapse:
    """Reason and evidence for which a fit was judged to be collapsed."""

    reason: str  # short code: a key of `REASONS`
    hard: bool  # whether the evidence is structural, so that the fit gets no second chance
    epoch: int  # epoch of the check at which it was judged
    evidence: Mapping[str, float]  # the measurements that led to the judgement


REASONS: Final[Mapping[str, str]] = {
    "non-finite": "The loss or a gradient exploded, or became infinite or undefined.",
    "dead-layer": "All units of a layer output zero for every image, so the layers after it can't tell images apart.",
    "no-gradient": "No gradient reaches the first layer, so it does not learn.",
    "constant-output": "The network predicts the same probabilities for every image.",
    "prior-predictor": "The network predicts the most frequent class for every image, and its loss is no better "
    "than that of predicting the class shares.",
    "no-progress": "Well into its epochs the fit was still at chance, and too slow to leave it before the last epoch.",
    "behind": "During its first fold the configuration was behind most others at the same epoch.",
    "too-slow": "The fit would have taken longer than the plan allows.",
    "too-large": "The network does not fit into the device's memory even with one image at a time.",
    "worker-died": "The training process died twice, most likely because it ran out of memory.",
    "process-lost": "The search or its machine died eight times during this fit, most likely because it ran out of "
    "memory.",
    "stalled": "The training process twice stopped responding for much longer than an epoch takes.",
    "raced": "The configuration was too far behind the best on the folds it was trained on.",
}
"""Descriptions of the reasons why fits collapsed or were stopped, by code, one sentence each."""

HARD_REASONS: Final = frozenset({"non-finite", "dead-layer", "no-gradient"})
"""Reasons that rest on structural evidence: a collapse for one of them gets no second chance."""
