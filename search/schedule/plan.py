"""The plan of a study: epochs, folds and shares of the time, computed from the duration of an epoch. Pure."""

from __future__ import annotations

import math
from typing import Final

from search.settings import Plan

SHOWN_IMAGES: Final = 24_000
"""Number of training images that a fit sees over all its epochs with `--epochs auto`.

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
"""Share of a time limit, 0..1, for fitting the finalists again and the variants of the recommended configuration."""

_REPORT_SECONDS: Final = 10.0
_FINAL_SHARE_AT_MOST: Final = 0.25  # of the budget, for final training, test and report
_TRIAL_SHARE: Final = 0.5  # of the search: a configuration that would take more is too slow
_SPLIT_SHARE: Final = 0.8  # of the finalists' time: one of which a single fresh split would take more is so too


def auto_epochs(images: int) -> int:
    """Return `SHOWN_IMAGES` / `images` epochs, rounded and limited to 12..200.

    Args:
        images: number of images in the data set, at least 1.
    """
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
    """Make the plan of a study: cut epochs and folds until the study fits into its time budget.

    - Epochs are cut down to a half until there is time for two configurations on all folds and forty on one fold,
    - down to a third until there is time for two finalists on two fresh splits,
    - down to 12 until there is time for two configurations on all folds;
    - then folds are cut down to 3 for the same.

    Epochs that the user fixed are not cut. `Plan.notes` names each cut.

    Args:
        epochs: number of epochs that the user fixed, or `auto_epochs`.
        epochs_fixed: whether the user fixed the number of epochs.
        folds: number of folds that the user asked for.
        seconds: seconds left of the budget; None for no limit.
        confirm: how many of these seconds are for confirmation and sensitivity; None takes `CONFIRM_SHARE` of them.
        workers: number of workers that train at the same time.
        epoch_seconds: duration of an epoch, check included, of the reference configuration on one fold, warmed up.
        trace_seconds: duration of building and tracing a network.
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
