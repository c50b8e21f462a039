"""Protection from the soft rule for fits that once were among the best at their epoch."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from search.collapse.limits import DEFAULT_LIMITS, Limits
from search.fit_checks import Check, column
from search.records import Fit, Verdict

_FEW: Final = 50  # curves that are sorted in one by one: the fits of a trial or two, not those of a resumed study


@dataclass(frozen=True, kw_only=True, slots=True)
class Protection:
    """Validation skill that earlier trials had by each epoch: a few dozen numbers, sent to the worker with each job.

    After BTTackler (KDD 2024), which never stops a trial that was ever among the best 10 % by loss.
    """

    calibrating: bool = True  # too few earlier trials to judge anyone by
    distrusted: bool = False  # the audit has shown that soft stops are wrong too often in this study
    epochs: tuple[int, ...] = ()  # ascending
    levels: tuple[float, ...] = ()  # validation skill that the best quarter of the fits had at that epoch

    @classmethod
    def of(cls, fits: Iterable[Fit], limits: Limits = DEFAULT_LIMITS) -> Protection:
        """Summarize the finished fits of earlier trials."""
        achieved = Achievements(limits)
        for fit in fits:
            achieved.add(fit)
        return achieved.protection()

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


class Achievements:
    """Validation skill by epoch of all finished fits, taken in one fit at a time: a study has thousands.

    Failed fits and fits without validation images don't count. A fit that was stopped early stays at its last skill: it
    would not have become better.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._trials: set[int] = set()
        self._curves: list[_Curve] = []
        self._sorted = 0  # of the curves, the first so many are in `_reached`
        self._reached: dict[int, list[float]] = {}  # by epoch: skill of all curves, ascending
        self._let_pass = self._wrong = 0  # soft stops that the audit let pass; of them, those of fits that learned

    def add(self, fit: Fit) -> None:
        """Take in a finished fit."""
        if fit.verdict is Verdict.FAILED:
            return
        self._trials.add(fit.trial)
        if fit.audit is not None and not fit.audit.hard:
            self._let_pass += 1
            self._wrong += (fit.skill or 0.0) >= self._limits.hard_skill
        curve = _Curve.of(fit.checks)
        if curve.epochs:
            self._curves.append(curve)

    def _sort_in(self) -> None:
        """Sort the curves that were added since the last call into the skills by epoch."""
        sorted_curves, new = self._curves[: self._sorted], self._curves[self._sorted :]
        for epoch in {epoch for curve in new for epoch in curve.epochs}.difference(self._reached):
            self._reached[epoch] = sorted(curve.at(epoch) for curve in sorted_curves)
        for epoch, reached in self._reached.items():
            if len(new) > _FEW:
                reached.extend(curve.at(epoch) for curve in new)
                reached.sort()
            else:
                for curve in new:
                    insort(reached, curve.at(epoch))
        self._sorted = len(self._curves)

    def protection(self) -> Protection:
        """Summarize the fits so far as the levels that the next fit is compared with."""
        self._sort_in()
        share, epochs = self._limits.protected_quantile, sorted(self._reached)
        place = int(share * (len(self._curves) - 1))  # the lower neighbour: one of the values, infinite ones included
        return Protection(
            calibrating=len(self._trials) < self._limits.calibration_trials,
            distrusted=self._is_distrusted(),
            epochs=tuple(epochs),
            levels=tuple(self._reached[epoch][place] for epoch in epochs),
        )

    def _is_distrusted(self) -> bool:
        """Whether of the soft stops that the audit let pass more than a few per cent would surely have been wrong."""
        if not self._wrong:
            return False
        # Clopper and Pearson 1934, one-sided 95 %
        from scipy.special import betaincinv  # type: ignore[import-untyped]  # workers never come here, and load it late

        lower = float(betaincinv(self._wrong, self._let_pass - self._wrong + 1, 0.05))
        return lower > self._limits.wrong_share


@dataclass(frozen=True, slots=True)
class _Curve:
    epochs: tuple[int, ...]  # ascending
    skills: tuple[float, ...]

    @classmethod
    def of(cls, checks: Sequence[Check]) -> _Curve:
        """Validation skills; a fit that became non-finite has fallen to the bottom."""
        rows = zip(*(column(checks, name) for name in ("epoch", "val_skill", "finite")), strict=True)
        points = [(epoch, skill if finite else -math.inf) for epoch, skill, finite in rows]
        points = [(epoch, skill) for epoch, skill in points if not math.isnan(skill)]
        return cls(tuple(epoch for epoch, _ in points), tuple(skill for _, skill in points))

    def at(self, epoch: int) -> float:
        """The skill at the nearest earlier check; before the first check, the first."""
        return self.skills[(bisect_right(self.epochs, epoch) or 1) - 1]
