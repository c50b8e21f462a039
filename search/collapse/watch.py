"""The collapse rules applied to one fit as it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from search.arrays import FloatArray
from search.collapse.limits import DEFAULT_LIMITS, Limits
from search.collapse.rules import FitContext, judge, judge_end
from search.fit_checks import Check, Collapse


class Watch:
    """Collects the checks of one fit and decides when to stop it.

    An audited fit is not stopped: what would have stopped it stands in `passed`, and its end shows whether that would
    have been right. Only a non-finite fit ends all the same, as nothing can come of it.

    Args:
        context: of the fit.
        audited: whether the fit runs on after a verdict.
        limits: thresholds of the rules.
    """

    def __init__(self, context: FitContext, *, audited: bool = False, limits: Limits = DEFAULT_LIMITS) -> None:
        self.passed: Collapse | None = None
        self._context = context
        self._audited = audited
        self._limits = limits
        self._checks: list[Check] = []

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks so far, one an epoch."""
        return tuple(self._checks)

    def resume(self, checks: Sequence[Check], passed: Collapse | None) -> None:
        """Continue an interrupted fit after these checks; `passed` is the verdict that the audit let pass, if any."""
        self._checks, self.passed = list(checks), passed

    def on_check(self, check: Check) -> Collapse | None:
        """Add a check and judge the fit: the collapse that ends it, or None to go on.

        A second check of the same epoch, made after BatchNorm's statistics were re-estimated, replaces the first and
        may take the verdict back. So with BatchNorm an audited fit, too, gets a verdict at the first check.
        """
        again = bool(self._checks) and self._checks[-1].epoch == check.epoch
        if again:
            self._checks.pop()
        self._checks.append(check)
        collapse = judge(self._checks, self._context, self._limits)
        if collapse is None or not self._audited or collapse.reason == "non-finite":
            return collapse
        if self.passed is not None:
            return None
        if self._context.batchnorm and not again:
            return collapse
        self.passed = collapse
        return None

    def final(self, check: Check, probabilities: FloatArray, train_auc: float = math.nan) -> Collapse | None:
        """Judge the fit after its last epoch, by `judge_end`.

        Args:
            check: of the last epoch.
            probabilities: `(n, K)` float32, of the validation images at that epoch.
            train_auc: area under the curve of training images in evaluation mode.
        """
        return judge_end(check, probabilities, self._context, self._limits, train_auc)
