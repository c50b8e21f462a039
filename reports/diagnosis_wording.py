"""How a diagnosis is put in words: the same on the terminal and in the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from reports.wording import counted, number
from search.causes import Cause
from search.diagnosis.evidence import Diagnosis, Fix, NetworkState

HEADLINES: Final[Mapping[NetworkState, str]] = {
    NetworkState.HEALTHY: "Healthy: it learns",
    NetworkState.SLOW: "Healthy, but slow: it learns late, and more epochs would help",
    NetworkState.COLLAPSED: "It does not learn: it gives nearly the same answer for every image",
    NetworkState.NON_FINITE: "It does not learn: its numbers become infinite or undefined",
    NetworkState.MEMORISER: "It learns its training images by heart and guesses on others",
    NetworkState.THRESHOLD: "It ranks the images well, but gives all the same class: a matter of threshold or scale",
    NetworkState.BATCHNORM: "It learns, but BatchNorm's stored averages spoil its answers outside of training",
    NetworkState.UNTOLD: "It learns these images, but they are too few to tell whether it learned more than them",
    NetworkState.WEAK: "It learns a little: better than guessing, but worse than simple methods",
}
"""A verdict in one sentence, without the stop."""


USUAL_SEEDS: Final = 3


def standing(cause: Cause) -> str:
    """What is known of a suspected cause: a hypothesis until an experiment confirms it."""
    if cause.confirmed is None:
        return "likely, not tried"
    return "confirmed by experiment" if cause.confirmed else "possible: its change alone was tried and did not help"


def scores_sentence(diagnosis: Diagnosis) -> str:
    """What the fits of the network as it is have reached."""
    runs = diagnosis.runs
    if not runs:
        return "No fit of it was finished in the time given."
    learned = sum(run.learned for run in runs)
    reached = scores(run.score for run in runs)
    few = diagnosis.cut_short and len(runs) < USUAL_SEEDS
    cut = " Fits that were ended for want of time are not counted; a larger --budget gives them more." if few else ""
    return (
        f"Trained as you train it, with {counted(len(runs), 'seed')}: balanced accuracy {reached}; "
        f"guessing gives {number(diagnosis.chance)}, and from {number(diagnosis.threshold)} on it counts as learning "
        f"({learned} of {len(runs)}).{cut}"
    )


def scores(values: Iterable[float]) -> str:
    """Scores in a row."""
    return " ".join(number(value) for value in values)


def mend_effect(mend: Fix, diagnosis: Diagnosis) -> str:
    """In how many seeds the changed network learned."""
    learned = sum(score >= diagnosis.threshold for score in mend.after)
    return f"{learned} of {counted(len(mend.after), 'seed')}"


def best_mend(diagnosis: Diagnosis) -> Fix | None:
    """The recommended change: the first that is confirmed."""
    return next((fix for fix in diagnosis.fixes if fix.confirmed), None)


def without_mend(diagnosis: Diagnosis) -> str:
    """What to say of a network that does not learn when no change was found that mends it."""
    if diagnosis.cut_short:
        return "The time ended before all likely causes were tried; a larger --budget gives it more."
    if len(diagnosis.fixes) == 1:
        return "The one change that was tried does not make it learn."
    if diagnosis.fixes:
        return f"None of the {counted(len(diagnosis.fixes), 'change')} that were tried makes it learn."
    return "There was no single change to try."
