"""A run on a log or a pipe: one plain line for whatever happens."""

from __future__ import annotations

import threading

from rich.console import Console

from reports.wording import STATE_WORDS, counted, duration, moment, number, short, shown
from search.events import EarlierProgress, SilentListener
from search.records import DataSummary, Fit, Trial, TrialState, Verdict
from search.settings import Plan


class PlainLines(SilentListener):
    """One line a stage, a fit and a trial, without control codes: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._trials: int | None = None
        self._folds: int | None = None
        self._done = 0

    def stage(self, text: str) -> None:
        """One line."""
        self._line(text)

    def progress(self, what: str, done: int, total: int) -> None:
        """One line when all is done."""
        if done >= total > 0:
            self._line(f"{what}: {total:,} done")

    def waiting(self, until: float) -> None:
        """One line: when it goes on."""
        self._line(f"Waiting until {moment(until)}")

    def data(self, summary: DataSummary) -> None:
        """One line: images, classes, size."""
        self._line(data_line(summary))

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """One line: the budget; one for every note of the plan."""
        with self._lock:
            self._trials, self._done, self._folds = trials, before.trials, plan.folds
        self._line(budget_line(plan, trials, seconds, before.trials))
        for note in plan.notes:
            self._line(f"  {note}")

    def fit_finished(self, fit: Fit) -> None:
        """One line: the verdict."""
        of = f"/{self._folds}" if self._folds else ""
        score = f" {number(fit.score)}" if fit.score is not None and fit.verdict is Verdict.LEARNED else ""
        why = f" ({fit.reason})" if fit.reason else ""
        epochs = counted(fit.epochs, "epoch")
        self._line(
            f"trial {fit.trial} fold {fit.fold + 1}{of}: {fit.verdict}{score}{why}, {epochs}, {fit.seconds:.1f} s"
        )

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        """One line: state, score, best so far, how far the study is."""
        with self._lock:
            self._done += trial.state is not TrialState.INTERRUPTED
            done = f"{self._done}/{self._trials}" if self._trials else str(self._done)
        score = "" if pooled is None else f" {number(pooled)}"
        why = f" ({trial.reason})" if trial.reason else ""
        self._line(
            f"trial {trial.number} {STATE_WORDS[trial.state]}{score}{why} | best {number(best)} | {done} trials | "
            f"{short(trial.configuration)}"
        )

    def _line(self, text: str) -> None:
        encoding = self._console.encoding
        line = shown(text).encode(encoding, "replace").decode(encoding)
        with self._lock:
            try:
                self._console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True, style=None)
            except (OSError, ValueError, SystemExit):
                # The reader of the pipe has gone (rich asks to exit then), or the stream is closed: the run goes on.
                self._console.quiet = True


def data_line(summary: DataSummary) -> str:
    """The images in one line."""
    shapes = f"in {counted(len(summary.shapes), 'shape')} up to" if summary.shapes else "at"
    seen = f"seen {shapes} {summary.image_size} pixels"
    bad = f", {counted(len(summary.quarantined), 'file')} unusable" if summary.quarantined else ""
    return (
        f"{summary.folder}: {counted(summary.images, 'image')}, "
        f"{counted(len(summary.classes), 'class', 'classes')}{bad}, {seen}"
    )


def budget_line(plan: Plan, trials: int | None, seconds: float | None, trials_done: int) -> str:
    """The budget and how to change it, in one line."""
    limits = [
        *([f"{trials} trials"] if trials is not None else []),
        *([f"{duration(seconds)} left"] if seconds is not None else []),
    ]
    budget = " or ".join(limits) or "no limit"
    return (
        f"Budget: {budget} (--trials and --timeout change it); {trials_done} done before; "
        f"{plan.folds} folds x {plan.epochs} epochs a trial"
    )
