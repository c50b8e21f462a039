"""The progress of a run as plain lines: on a pipe, and in the log file."""

from __future__ import annotations

import logging
import threading

from rich.console import Console

from reports.configurations import short
from reports.wording import STATE_WORDS, counted, duration, moment, number, shown
from search.events import EarlierProgress, SilentListener
from search.records import DataSummary, Fit, Trial, TrialState, Verdict
from search.settings import Plan
from spaces.config import Configuration

_log = logging.getLogger("search.run")


class PlainLines(SilentListener):
    """A listener that prints one line per stage, fit and trial, without control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._trials: int | None = None
        self._folds: int | None = None
        self._done = 0

    def stage(self, text: str) -> None:
        """Print what the study does now."""
        self._line(text)

    def progress(self, what: str, done: int, total: int) -> None:
        """Print one line when all `total` parts of a step are done, such as all images decoded."""
        if done >= total > 0:
            self._line(f"{what}: {total:,} done")

    def waiting(self, until: float) -> None:
        """Print the local time at which the run continues; `until` is in seconds since 1970."""
        self._line(f"Waiting until {moment(until)}")

    def data(self, summary: DataSummary) -> None:
        """Print the folder with its numbers of images and classes, and the image size in pixels."""
        self._line(data_line(summary))

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """Print the budget (`seconds` is the time left), the number of earlier trials and the notes of the plan."""
        with self._lock:
            self._trials, self._done, self._folds = trials, before.trials, plan.folds
        self._line(budget_line(plan, trials, seconds, before.trials))
        for note in plan.notes:
            self._line(f"  {note}")

    def fit_finished(self, fit: Fit) -> None:
        """Print the verdict of a finished fit, its score or reason, epochs if it has any, and seconds."""
        of = f"/{self._folds}" if self._folds else ""
        score = f" {number(fit.score)}" if fit.score is not None and fit.verdict is Verdict.LEARNED else ""
        why = f" ({fit.reason})" if fit.reason else ""
        epochs = f", {counted(fit.epochs, 'epoch')}" if fit.epochs or fit.epochs_planned else ""
        self._line(f"trial {fit.trial} fold {fit.fold + 1}{of}: {fit.verdict}{score}{why}{epochs}, {fit.seconds:.1f} s")

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        """Print state and pooled score of a finished trial, the best score so far and the number of trials."""
        with self._lock:
            self._done += trial.state is not TrialState.INTERRUPTED
            done = f"{self._done}/{self._trials} trials" if self._trials else counted(self._done, "trial")
        score = "" if pooled is None else f" {number(pooled)}"
        why = f" ({trial.reason})" if trial.reason else ""
        self._line(
            f"trial {trial.number} {STATE_WORDS[trial.state]}{score}{why} | best {number(best)} | {done} | "
            f"{short(trial.configuration)}"
        )

    def _line(self, text: str) -> None:
        encoding = self._console.encoding
        line = shown(text).encode(encoding, "replace").decode(encoding)
        with self._lock:
            try:
                self._console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True, style=None)
            except (OSError, ValueError, SystemExit):
                # The reader of the pipe is gone (rich raises SystemExit) or the stream is closed; the run continues.
                self._console.quiet = True


class EventLog(SilentListener):
    """A listener that logs stages, waiting, the images, the budget and the start of each trial.

    The ends of fits and trials are logged where they are decided.
    """

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """Log the start of a trial, so that the log shows after a crash which trials were running."""
        _log.info("trial %d starts", number)

    def stage(self, text: str) -> None:
        """Log what the study does now."""
        _log.info("%s", text)

    def waiting(self, until: float) -> None:
        """Log the local time at which the run continues; `until` is in seconds since 1970."""
        _log.info("waiting until %s", moment(until))

    def data(self, summary: DataSummary) -> None:
        """Log the folder, its numbers of images and classes, and the fingerprint of the images."""
        _log.info("%s, fingerprint %s", data_line(summary), summary.fingerprint)

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """Log the budget (`seconds` is the time left), the number of earlier trials and the notes of the plan."""
        _log.info("%s", " ".join([budget_line(plan, trials, seconds, before.trials) + ".", *plan.notes]))


def data_line(summary: DataSummary) -> str:
    """Return the images as one line: folder, images, classes, unusable files and size."""
    shapes = f"{counted(len(summary.shapes), 'shape')} of up to " if summary.shapes else ""
    size = f"used with {shapes}{summary.image_size} pixels per side"
    unusable = f", {counted(len(summary.quarantined), 'file')} unusable" if summary.quarantined else ""
    return (
        f"{summary.folder}: {counted(summary.images, 'image')}, "
        f"{counted(len(summary.classes), 'class', 'classes')}{unusable}, {size}"
    )


def budget_line(plan: Plan, trials: int | None, seconds: float | None, trials_done: int) -> str:
    """Return the budget and how to change it, as one line.

    Args:
        plan: folds and epochs of a trial.
        trials: limit of trials in total; None without one.
        seconds: time left; None without a limit.
        trials_done: trials of earlier sessions.
    """
    limits = [
        *([f"{trials} trials"] if trials is not None else []),
        *([f"{duration(seconds)} left"] if seconds is not None else []),
    ]
    budget = " or ".join(limits) or "no limit"
    return (
        f"Budget: {budget} (change with --trials and --timeout); {counted(trials_done, 'trial')} done before; "
        f"{plan.folds} folds x {plan.epochs} epochs per trial"
    )
