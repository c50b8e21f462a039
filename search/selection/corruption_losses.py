"""Corruption losses: how much the score falls on images that are a little worse than those it was measured on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from search.records import Fit, Verdict


def corruption_losses(fits: Sequence[Fit]) -> dict[str, tuple[float, float]]:
    """Points of the metric lost under each corruption, mild and strong: mean over the fits.

    Fits that did not learn, or whose images were not corrupted, don't count. A negative loss is a gain.

    Args:
        fits: of one configuration; `Fit.corrupted` holds scores by "name/1" (mild) and "name/2" (strong).

    Returns:
        Name of the corruption -> mild, strong; only those measured in both strengths, in the order of the fits'
        records.
    """
    lost: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for fit in fits:
        if fit.verdict is not Verdict.LEARNED or fit.score is None or not np.isfinite(fit.score):
            continue
        for form, score in fit.corrupted.items():
            name, _, strength = form.rpartition("/")
            if np.isfinite(score):
                lost[name][strength].append(fit.score - score)
    return {
        name: (float(np.mean(by_strength["1"])), float(np.mean(by_strength["2"])))
        for name, by_strength in lost.items()
        if by_strength.keys() >= {"1", "2"}
    }
