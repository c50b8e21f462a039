"""Seconds that each part of a session leaves for the parts after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from search.records import Trial
from search.settings import Plan
from search.study.ablation import seconds_needed
from search.study.request import Request

_ABLATION_SHARE: Final = 0.1  # of the limit, at most: for the way from the user's configuration to the recommended one
_SURROUNDINGS_SHARE: Final = 1 / 6  # of what the plan gives the finalists


class Reserves:
    """What to keep back, given the best trial so far.

    Args:
        request: knows the limit, and whether there is a configuration to explain.
        plan: of the study.
        test: whether a final training and a test follow.
        restart_seconds: what a worker takes to start again.
    """

    def __init__(self, request: Request, plan: Plan, *, test: bool, restart_seconds: Callable[[], float]) -> None:
        self._request, self._plan, self._test, self._restart_seconds = request, plan, test, restart_seconds

    def after_search(self, best: Trial | None) -> float:
        """For everything: finalists, ablation, surroundings, final training, report; without a best, there are none of
        the first three, and the search goes on."""
        if best is None:
            return self.final(None)
        return (self._plan.confirm_seconds or 0.0) + ablation_seconds(self._request, best) + self.final(best)

    def after_confirmation(self, best: Trial | None) -> float:
        """For ablation, surroundings, final training, report."""
        return ablation_seconds(self._request, best) + self.after_ablation(best)

    def after_ablation(self, best: Trial | None) -> float:
        """For surroundings, final training, report."""
        return _SURROUNDINGS_SHARE * (self._plan.confirm_seconds or 0.0) + self.final(best)

    def final(self, best: Trial | None) -> float:
        """For a final training of the best, the test, the report."""
        plan = self._plan
        if best is None or not self._test:
            return plan.final_seconds
        fit = max(fit.seconds for fit in best.fits) * plan.folds / (plan.folds - 1)
        return max(plan.final_seconds, 10.0 + self._restart_seconds() + 1.3 * fit)  # one that won't stop is killed


def ablation_seconds(request: Request, best: Trial | None) -> float:
    """For the way from the user's configuration to the best so far; the most it may take while there is none."""
    limit, starts = request.budget.seconds, request.starts
    if limit is None or not starts:
        return 0.0
    most = _ABLATION_SHARE * limit
    return most if best is None else min(most, seconds_needed(starts[0], best))
