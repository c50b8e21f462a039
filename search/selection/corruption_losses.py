"""What a configuration loses on images that are a little worse than those it was judged on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from search.records import Fit, Verdict


def corruption_losses(fits: Sequence[Fit]) -> dict[str, tuple[float, float]]:
    """Points of the metric lost under each corruption, mild and strong: mean over the fits.

    Fits that did not learn, or whose images were not corrupted, say nothing. A negative loss is a gain.

    Args:
        fits: of one configuration; `Fit.corrupted` holds scores by "name/1" (mild) and "name/2" (strong).

    Returns:
        By name of the corruption, in the order of the fits' own records; only what was measured in both strengths.
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
