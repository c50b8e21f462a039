"""Protection from the soft rule for fits that were among the best of the study at any of their checks."""

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
    """Validation skills of earlier trials by epoch, which protect good fits from the soft rule.

    The idea is BTTackler's (KDD 2024), which never stops a trial that was ever among the best 10 % by loss. A
    protection is a few dozen numbers, sent to the worker with each job.
    """

    calibrating: bool = True  # too few earlier trials to compare with: every fit is protected
    distrusted: bool = False  # the audit has shown that soft stops are wrong too often: every fit is protected
    epochs: tuple[int, ...] = ()  # ascending
    levels: tuple[float, ...] = ()  # validation skill that the best quarter of the fits reached at each of `epochs`

    @classmethod
    def of(cls, fits: Iterable[Fit], limits: Limits = DEFAULT_LIMITS) -> Protection:
        """Return the protection from the finished fits of earlier trials."""
        achieved = Achievements(limits)
        for fit in fits:
            achieved.add(fit)
        return achieved.protection()

    def protects(self, checks: Sequence[Check], limits: Limits = DEFAULT_LIMITS) -> bool:
        """Return whether the soft rule must not stop a fit with these checks.

        A fit is protected if at any check its validation skill was among the best quarter at that epoch, or if there is
        nothing to compare with (`calibrating`, `distrusted`). A skill below `limits.val_skill` never protects: at first
        a fit that predicts the class shares is better than many that learn. Nor does a skill with an AUC near 0.5: it
        comes from class shares that happen to match.
        """
        return self.calibrating or self.distrusted or any(self._is_good(check, limits) for check in checks)

    def _is_good(self, check: Check, limits: Limits) -> bool:
        place = bisect_right(self.epochs, check.epoch) - 1
        ranks = not abs(check.auc - 0.5) < limits.protected_auc
        return place >= 0 and ranks and check.val_skill >= max(limits.val_skill, self.levels[place])


class Achievements:
    """Collects the validation skill by epoch of finished fits, one fit at a time, as a study has thousands.

    Failed fits and fits without validation images don't count. A fit that was stopped early is taken to stay at its
    last skill.

    Args:
        limits: thresholds of the protection.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._trials: set[int] = set()
        self._curves: list[_Curve] = []
        self._sorted = 0  # of the curves, the first so many are in `_reached`
        self._reached: dict[int, list[float]] = {}  # by epoch: skill of all curves, ascending
        self._audited = self._wrong = 0  # fits that the audit saved from the soft rule; of these, those that learned

    def add(self, fit: Fit) -> None:
        """Add a finished fit."""
        if fit.verdict is Verdict.FAILED:
            return
        self._trials.add(fit.trial)
        if fit.audit is not None and not fit.audit.hard:
            self._audited += 1
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
        """Return the protection for the next fit, from all fits added so far."""
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
        """Whether more than `wrong_share` of the soft stops are wrong, with 95 % confidence, by the audited fits."""
        if not self._wrong:
            return False
        # Clopper and Pearson 1934, one-sided 95 %
        from scipy.special import betaincinv  # type: ignore[import-untyped]  # workers never come here, and load it late

        lower = float(betaincinv(self._wrong, self._audited - self._wrong + 1, 0.05))
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
