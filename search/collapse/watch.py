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

    An audited fit is not stopped: the first collapse that would have stopped it is kept in `audited_collapse`, and the
    fit's end shows whether the stop would have been right. Only a non-finite fit is stopped even if it is audited.

    Args:
        context: facts about the fit.
        audited: whether the fit runs on after it was judged to be collapsed.
        limits: thresholds of the rules.

    Attributes:
        audited_collapse: the first collapse for which an audited fit was not stopped; None if there was none.
    """

    def __init__(self, context: FitContext, *, audited: bool = False, limits: Limits = DEFAULT_LIMITS) -> None:
        self.audited_collapse: Collapse | None = None
        self._context = context
        self._audited = audited
        self._limits = limits
        self._checks: list[Check] = []

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks so far, by epoch, at most one per epoch."""
        return tuple(self._checks)

    def resume(self, checks: Sequence[Check], audited_collapse: Collapse | None) -> None:
        """Restore the state of an interrupted fit.

        Args:
            checks: the checks before the interruption, by epoch.
            audited_collapse: the collapse for which the audited fit was not stopped, if any.
        """
        self._checks, self.audited_collapse = list(checks), audited_collapse

    def on_check(self, check: Check) -> Collapse | None:
        """Add a check and judge the fit.

        A second check of the same epoch, made after BatchNorm's statistics were re-estimated, replaces the first and
        may revoke its collapse. Therefore with BatchNorm the first check of an epoch returns a collapse for an audited
        fit too, so that the caller re-estimates the statistics and checks again.

        Returns:
            The collapse for which the fit should end; None to go on.
        """
        again = bool(self._checks) and self._checks[-1].epoch == check.epoch
        if again:
            self._checks.pop()
        self._checks.append(check)
        collapse = judge(self._checks, self._context, self._limits)
        if collapse is None or not self._audited or collapse.reason == "non-finite":
            return collapse
        if self.audited_collapse is not None:
            return None
        if self._context.batchnorm and not again:
            return collapse
        self.audited_collapse = collapse
        return None

    def final(self, check: Check, probabilities: FloatArray, train_auc: float = math.nan) -> Collapse | None:
        """Return the collapse of a fit that ran to its last epoch, or None, as `judge_end` does.

        Args:
            check: check at the last epoch.
            probabilities: `(n, K)` float32, predictions for the validation images; n is 0 without any.
            train_auc: AUC on training images in evaluation mode; used only without validation images.
        """
        return judge_end(check, probabilities, self._context, self._limits, train_auc)
