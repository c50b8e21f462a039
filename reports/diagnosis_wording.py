"""The sentences of a diagnosis, the same on the terminal and in the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from reports.wording import counted, number
from search.causes import Cause
from search.diagnosis.evidence import Diagnosis, Fix, NetworkState

HEADLINES: Final[Mapping[NetworkState, str]] = {
    NetworkState.HEALTHY: "Healthy: the network learns",
    NetworkState.SLOW: "Healthy, but slow: the network learns late, and more epochs would help",
    NetworkState.COLLAPSED: "The network does not learn: its predictions are nearly the same for every image",
    NetworkState.NON_FINITE: "The network does not learn: its loss or weights become infinite or undefined",
    NetworkState.MEMORISER: "The network memorizes its training images and is at chance on others",
    NetworkState.THRESHOLD: "The network ranks the images well, but predicts one class for all: its decision threshold "
    "or scale is wrong",
    NetworkState.BATCHNORM: "The network learns, but BatchNorm's moving averages spoil its predictions after training",
    NetworkState.UNTOLD: "The network memorizes its images, and there are too few to tell whether it learns more",
    NetworkState.WEAK: "The network learns a little: better than chance, but worse than simple methods",
}
"""Results of a diagnosis as one sentence each, without the full stop."""


USUAL_SEEDS: Final = 3


def standing(cause: Cause) -> str:
    """Return the status of a suspected cause: a hypothesis until an experiment confirms it."""
    if cause.confirmed is None:
        return "likely, not tested"
    return "confirmed by experiment" if cause.confirmed else "possible; fixing it alone did not help"


def scores_sentence(diagnosis: Diagnosis) -> str:
    """Return the scores that the unchanged network reached with each seed, and from which score a fit learned."""
    runs = diagnosis.runs
    if not runs:
        return "No fit was finished within the --budget. Pass a larger one."
    learned = sum(run.learned for run in runs)
    reached = scores(run.score for run in runs)
    few = diagnosis.cut_short and len(runs) < USUAL_SEEDS
    cut = " Fits that ran out of time are not counted; pass a larger --budget to finish them." if few else ""
    return (
        f"Trained as you train it, with {counted(len(runs), 'seed')}: balanced accuracy {reached}. "
        f"Chance is {number(diagnosis.chance)}; a fit counts as learned if it reaches {number(diagnosis.threshold)} "
        f"({learned} of {len(runs)} did).{cut}"
    )


def scores(values: Iterable[float]) -> str:
    """Return scores as text with three decimals, separated by spaces."""
    return " ".join(number(value) for value in values)


def fix_effect(fix: Fix, diagnosis: Diagnosis) -> str:
    """Return the number of seeds with which the changed network learned, of those it was trained with."""
    learned = sum(score >= diagnosis.threshold for score in fix.after)
    return f"{learned} of {counted(len(fix.after), 'seed')}"


def best_fix(diagnosis: Diagnosis) -> Fix | None:
    """Return the recommended change: the first one that is confirmed; None without one."""
    return next((fix for fix in diagnosis.fixes if fix.confirmed), None)


def without_fix(diagnosis: Diagnosis) -> str:
    """Return why no change is recommended for a network that does not learn."""
    if diagnosis.cut_short:
        return "Time ran out before all likely causes were tested. Pass a larger --budget."
    if len(diagnosis.fixes) == 1:
        return "The one change that was tested does not make the network learn."
    if diagnosis.fixes:
        return f"None of the {counted(len(diagnosis.fixes), 'change')} that were tested makes the network learn."
    return "There was no single change to test."
