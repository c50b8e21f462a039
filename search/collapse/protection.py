"""Which fits the soft rule must let be: those that once were among the best at their epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv  # type: ignore[import-untyped]

from search.collapse.limits import DEFAULT_LIMITS, Limits
from search.records import Check, Fit, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Protection:
    """What earlier trials reached by each epoch. A few dozen numbers: it travels with the job to the worker.

    After BTTackler (KDD 2024), which never stops a trial that was ever among the best 10 % by loss.
    """

    calibrating: bool = True  # too few earlier trials to judge anyone by
    distrusted: bool = False  # the audit has shown that soft stops are wrong too often in this study
    epochs: tuple[int, ...] = ()  # ascending
    levels: tuple[float, ...] = ()  # validation skill that the best quarter of the fits had at that epoch

    @classmethod
    def of(cls, fits: Iterable[Fit], limits: Limits = DEFAULT_LIMITS) -> Protection:
        """From the finished fits of earlier trials. Failed fits and fits without validation images don't count.

        A fit that was stopped early stays at its last skill: it would not have become better.
        """
        known = [fit for fit in fits if fit.verdict is not Verdict.FAILED]
        curves = [curve for fit in known if (curve := _curve(fit.checks))]
        epochs = sorted({epoch for curve in curves for epoch, _ in curve})
        level = [_quantile([_at(curve, epoch) for curve in curves], limits.protected_quantile) for epoch in epochs]
        return cls(
            calibrating=len({fit.trial for fit in known}) < limits.calibration_trials,
            distrusted=_is_distrusted(known, limits),
            epochs=tuple(epochs),
            levels=tuple(level),
        )

    def protects(self, checks: Sequence[Check], limits: Limits = DEFAULT_LIMITS) -> bool:
        """Whether the fit was at some check among the best quarter at that epoch, or too little is known to tell.

        A skill that the soft rule would not accept is no achievement, however poor the others were: a fit that stays
        at the prior begins better than many that learn. Nor is one without any ranking: it comes from class shares
        that happen to fit.
        """
        return self.calibrating or self.distrusted or any(self._is_good(check, limits) for check in checks)

    def _is_good(self, check: Check, limits: Limits) -> bool:
        place = bisect_right(self.epochs, check.epoch) - 1
        ranks = not abs(check.auc - 0.5) < limits.protected_auc
        return place >= 0 and ranks and check.val_skill >= max(limits.val_skill, self.levels[place])


def _is_distrusted(fits: Sequence[Fit], limits: Limits) -> bool:
    """Whether of the soft stops that the audit let pass more than a few per cent would surely have been wrong."""
    checked = [fit for fit in fits if fit.audit is not None and not fit.audit.hard]
    wrong = sum((fit.skill or 0.0) >= limits.hard_skill for fit in checked)
    if not wrong:
        return False
    lower = float(betaincinv(wrong, len(checked) - wrong + 1, 0.05))  # Clopper and Pearson 1934, one-sided 95 %
    return lower > limits.wrong_share


def _curve(checks: Sequence[Check]) -> list[tuple[int, float]]:
    """(epoch, validation skill); a fit that became non-finite has fallen to the bottom."""
    known = ((check.epoch, check.val_skill if check.finite else -np.inf) for check in checks)
    return [(epoch, skill) for epoch, skill in known if not np.isnan(skill)]


def _at(curve: Sequence[tuple[int, float]], epoch: int) -> float:
    """The skill at the nearest earlier check; before the first check, the first."""
    return curve[max(0, bisect_right([at for at, _ in curve], epoch) - 1)][1]


def _quantile(values: Sequence[float], share: float) -> float:
    """The lower neighbour: always one of the values, infinite ones included."""
    return sorted(values)[int(share * (len(values) - 1))]
