"""Corruption losses: how much the score falls when the validation images are corrupted (noise, blur, ...)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from search.records import Fit, Verdict


def corruption_losses(fits: Sequence[Fit]) -> dict[str, tuple[float, float]]:
    """Return the score lost under each corruption, mild and strong, averaged over the fits.

    Fits that did not learn, or were not scored on corrupted images, are left out. A negative loss is a gain.

    Args:
        fits: fits of one configuration; `Fit.corrupted` holds the scores under "name/1" (mild) and "name/2" (strong).

    Returns:
        Name of the corruption -> (mild loss, strong loss), in units of the study's metric. Corruptions that were not
        measured in both strengths are left out; the order is that of `Fit.corrupted`.
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
