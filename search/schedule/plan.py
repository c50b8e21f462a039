"""The plan of a study: epochs, folds and shares of the time, decided from what an epoch costs. Pure."""

from __future__ import annotations

import math
from typing import Final

from search.settings import Plan

SHOWN_IMAGES: Final = 24_000
"""Training images that a fit sees with `--epochs auto`, all epochs together, whatever the batch size.

Measured by `benchmarks/epochs.py`; see DECISIONS.md.
"""

MIN_EPOCHS: Final = 12
MAX_EPOCHS: Final = 200
_MIN_FOLDS: Final = 3
_JUDGED_AT_LEAST: Final = 2  # configurations that must be judged on all folds
_CONFIRMED_AT_LEAST: Final = (
    5  # two finalists on two fresh splits, and their surroundings; for them, at most to a third
)
_SPLITS_AT_LEAST: Final = 2  # on which finalists are confirmed
_TRIED_AT_LEAST: Final = 40  # more that should be tried on one fold; for them, epochs are at most halved
CONFIRM_SHARE: Final = 0.3
"""Share of a time limit for the finalists' fits and for the changed copies around the winner."""

_REPORT_SECONDS: Final = 10.0
_FINAL_SHARE_AT_MOST: Final = 0.25  # of the budget, for final training, test and report
_TRIAL_SHARE: Final = 0.5  # of the search: a configuration that would take more is too slow
_SPLIT_SHARE: Final = 0.8  # of the finalists' time: one of which a single fresh split would take more is so too


def auto_epochs(images: int) -> int:
    """Number of epochs that show a fit `SHOWN_IMAGES` images, within 12 to 200."""
    return max(MIN_EPOCHS, min(MAX_EPOCHS, round(SHOWN_IMAGES / images)))


def make_plan(
    *,
    epochs: int,
    epochs_fixed: bool,
    folds: int,
    seconds: float | None,
    confirm: float | None = None,
    workers: int = 1,
    epoch_seconds: float,
    trace_seconds: float,
    test: bool,
) -> Plan:
    """Fit the study into its time.

    With too little time for two configurations on all folds and forty on one, epochs are cut to a half; with too
    little for two finalists on two fresh splits, to a third; for two configurations, down to 12, then folds to 3.
    Epochs that the user fixed stay. Each cut is said in `notes`.

    Args:
        epochs: requested, or `auto_epochs`.
        epochs_fixed: whether the user gave a number.
        folds: requested.
        seconds: left of the whole budget, None without a limit.
        confirm: seconds of these for finalists and their surroundings; None takes `CONFIRM_SHARE`.
        workers: number of workers that train at the same time.
        epoch_seconds: a warm epoch of the reference configuration on one training fold, with its check.
        trace_seconds: to build and trace a network.
        test: whether a final training and a test follow.
    """
    if seconds is None:
        return Plan(epochs=epochs, folds=folds, search_seconds=None, final_seconds=0.0, fit_seconds=None)

    confirm = min(seconds, CONFIRM_SHARE * seconds if confirm is None else confirm)

    def trial_seconds(epochs: int, folds: int) -> float:
        return trace_seconds + folds * epochs * epoch_seconds

    def final_seconds(epochs: int, folds: int) -> float:
        training = (trace_seconds + epochs * epoch_seconds * folds / (folds - 1)) if test else 0.0
        return min(_REPORT_SECONDS + training, _FINAL_SHARE_AT_MOST * seconds)

    def search_seconds(epochs: int, folds: int) -> float:
        return max(0.0, seconds - confirm - final_seconds(epochs, folds))

    def fits(epochs: int, folds: int, more: int = 0) -> bool:
        wanted = _JUDGED_AT_LEAST * trial_seconds(epochs, folds) + more * trial_seconds(epochs, 1)
        room = search_seconds(epochs, folds)
        return wanted <= workers * room and trial_seconds(epochs, folds) <= room

    def confirms(epochs: int, folds: int) -> bool:
        one = trial_seconds(epochs, folds)  # a finalist's own splits follow each other
        return _CONFIRMED_AT_LEAST * one <= workers * confirm and _SPLITS_AT_LEAST * one <= confirm

    notes: list[str] = []
    requested_epochs, requested_folds = epochs, folds
    while not epochs_fixed and epochs > MIN_EPOCHS:
        enough = fits(epochs, folds, more=_TRIED_AT_LEAST if epochs > requested_epochs / 2 else 0)
        if enough and (confirms(epochs, folds) or epochs <= requested_epochs / 3):
            break
        epochs = max(MIN_EPOCHS, int(0.9 * epochs))
    if epochs < requested_epochs:
        notes.append(f"Time is short: {epochs} epochs a fit instead of {requested_epochs}.")
    while folds > _MIN_FOLDS and not fits(epochs, folds):
        folds -= 1
    if folds < requested_folds:
        notes.append(f"Time is short: {folds} folds instead of {requested_folds}.")
    if not fits(epochs, folds):
        notes.append(
            f"A configuration takes about {trial_seconds(epochs, folds):.0f} s, the search has "
            f"{search_seconds(epochs, folds):.0f} s: fewer than two may be judged. "
            "Give it more --timeout, a smaller --image-size or fewer --epochs."
        )
    search = search_seconds(epochs, folds)
    in_a_row = math.ceil(folds / workers)  # fits of one finalist: who wins must also find time to be fitted again
    bearable = min(_TRIAL_SHARE * search / folds, _SPLIT_SHARE * confirm / in_a_row)
    longest = max(2.0 * epochs * epoch_seconds, bearable)
    return Plan(
        epochs=epochs,
        folds=folds,
        search_seconds=search,
        final_seconds=final_seconds(epochs, folds),
        confirm_seconds=confirm,
        fit_seconds=longest,
        notes=tuple(notes),
    )
