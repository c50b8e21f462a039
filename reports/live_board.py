"""The progress of a run as a panel on a terminal.

Events come often and from several threads, so their handlers only store values; rich's own thread draws the panel from
these values a few times a second.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reports.configurations import short
from reports.live_lines import budget_line, data_line
from reports.wording import STATE_WORDS, duration, moment, number, reason, shown
from search.events import EarlierProgress
from search.fit_checks import Check
from search.records import DataSummary, Fit, Trial, TrialState, Verdict
from search.settings import Plan
from spaces.config import Configuration

_RUNNING_SHOWN: Final = 4  # trials in the panel


@dataclass(slots=True)
class _Running:
    """Progress of a trial that is being fitted."""

    configuration: Configuration
    folds: int
    folds_done: int = 0
    fold: int = 0
    epoch: int = 0
    epochs: int = 0
    skill: float | None = None


class Board:
    """A listener that draws the progress of a run as a panel. Every method may be called from any thread.

    Args:
        clock: seconds that pass, for elapsed and remaining time.
        wall: seconds since 1970, for the time until the next window.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._start = clock()
        self._stage = "Starting"
        self._progress: tuple[str, int, int] | None = None
        self._waits_until: float | None = None
        self._data = ""
        self._budget: tuple[str, ...] = ()  # the line of the budget, then the notes of the plan
        self._trials: int | None = None
        self._deadline: float | None = None
        self._done = 0
        self._running: dict[int, _Running] = {}
        self._best: float | None = None
        self._best_trial: int | None = None
        self._best_configuration: Configuration | None = None
        self._states: Counter[TrialState] = Counter()
        self._collapses: Counter[str] = Counter()

    def stage(self, text: str) -> None:
        """Start a new stage; trials of the stage before are no longer running."""
        with self._lock:
            self._running.clear()
            self._stage, self._progress, self._waits_until = text, None, None

    def progress(self, what: str, done: int, total: int) -> None:
        """Update the progress of a step of known length."""
        with self._lock:
            self._progress = (what, done, total) if done < total else None

    def waiting(self, until: float) -> None:
        """Show that the run is waiting until a moment (seconds since 1970)."""
        with self._lock:
            self._stage, self._progress, self._waits_until = f"Waiting until {moment(until)}", None, until

    def data(self, summary: DataSummary) -> None:
        """Show the folder with its numbers of images and classes, and the image size in pixels."""
        with self._lock:
            self._data = data_line(summary)

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """Show the budget (`seconds` is the time left) and the trials and best score of earlier sessions."""
        with self._lock:
            self._trials, self._done = trials, before.trials
            self._budget = (budget_line(plan, trials, seconds, before.trials), *plan.notes)
            self._best = before.best
            if before.best_trial is not None:
                self._best_trial, self._best_configuration = before.best_trial.number, before.best_trial.configuration
            self._deadline = None if seconds is None else self._clock() + seconds

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """Show a trial that has started, with its configuration."""
        with self._lock:
            self._running[number] = _Running(configuration, folds)

    def check(self, number: int, fold: int, check: Check, epochs: int) -> None:
        """Update fold, epoch and validation skill of a running trial."""
        with self._lock:
            running = self._running.get(number)
            if running is not None:
                running.fold, running.epoch, running.epochs = fold, check.epoch, epochs
                running.skill = check.val_skill

    def fit_finished(self, fit: Fit) -> None:
        """Count the folds of a trial that are done, and collapses by reason."""
        with self._lock:
            if fit.verdict is Verdict.COLLAPSED:
                self._collapses[fit.reason or "unknown"] += 1
            running = self._running.get(fit.trial)
            if running is not None:
                running.folds_done = max(running.folds_done, fit.fold + 1)
                running.epoch = 0

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        """Count a finished trial by its state, and update the best score so far."""
        with self._lock:
            self._running.pop(trial.number, None)
            self._states[trial.state] += 1
            self._done += trial.state is not TrialState.INTERRUPTED
            if best is not None:
                self._best = best
                if pooled is not None and pooled >= best:
                    self._best_trial, self._best_configuration = trial.number, trial.configuration

    def render(self) -> RenderableType:
        """Return the panel with the current progress."""
        with self._lock:
            rows: list[RenderableType] = [Text(shown(self._data), style="dim", overflow="ellipsis", no_wrap=True)]
            rows += [Text(shown(line), style="dim") for line in self._budget]
            if self._waits_until is not None:
                rows.append(
                    Text(f"starts in {duration(max(0.0, self._waits_until - self._wall()))}; press Ctrl-C to stop")
                )
            if self._progress:
                what, done, total = self._progress
                rows.append(_bar_row(shown(what), done, total, f"{done:,}/{total:,}"))
            if self._running or self._done or self._trials is not None:
                total_trials = f"{self._done}/{self._trials}" if self._trials else str(self._done)
                rows.append(_bar_row("trials", self._done, self._trials or 0, total_trials))
            for place, (trial, running) in enumerate(list(self._running.items())):
                if place == _RUNNING_SHOWN:
                    rows.append(Text(f"and {len(self._running) - place} more", style="dim"))
                    break
                rows.extend(_running_rows(trial, running))
            rows.extend(self._tally())
            left = "" if self._deadline is None else f", at most {duration(self._deadline - self._clock())} left"
            clock = f"{duration(self._clock() - self._start)}{left}"
            title = Text(f" {shown(self._stage)} ", style="bold")
            visible = [row for row in rows if not (isinstance(row, Text) and not row.plain)]
            return Panel(Group(*visible), title=title, title_align="left", subtitle=clock, subtitle_align="right")

    def _tally(self) -> list[RenderableType]:
        rows: list[RenderableType] = []
        if self._best is not None:
            best = Text.assemble(("best     ", "dim"), (number(self._best), "bold green"))
            if self._best_configuration is not None:
                best.append(f"  trial {self._best_trial}: {short(self._best_configuration)}", style="dim")
            rows.append(_one_line(best))
        ended = ", ".join(f"{count} {STATE_WORDS[state]}" for state, count in sorted(self._states.items()))
        if ended:
            rows.append(_one_line(Text.assemble(("ended    ", "dim"), ended)))
        for code, count in self._collapses.most_common(3):
            rows.append(
                _one_line(Text.assemble(("collapse ", "dim"), (f"{count:>3} ", "bold"), shown(code), _why(code)))
            )
        return rows


def _why(code: str) -> tuple[str, str]:
    text = reason(code)
    return ("" if text == code else f"  {shown(text)}", "dim")


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _running_rows(trial: int, running: _Running) -> list[RenderableType]:
    head = _one_line(Text.assemble((f"trial {trial}  ", "bold"), short(running.configuration)))
    fold = min(max(running.fold, running.folds_done) + 1, running.folds)
    share = running.epoch / running.epochs if running.epochs else 0.0
    skill = "" if running.skill is None else f"  skill {number(running.skill, 2)}"
    epoch = "" if running.configuration.is_closed_form else f"  epoch {running.epoch}/{running.epochs or '–'}"
    text = f"fold {fold}/{running.folds}{epoch}{skill}"
    done = max(running.folds_done, running.fold) + share if running.folds_done < running.folds else running.folds
    return [head, _bar_row("", done, running.folds, text)]


def _bar_row(label: str, done: float, total: float, text: str) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=8, no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(min_width=24, no_wrap=True)
    bar: RenderableType = ProgressBar(total=total, completed=min(done, total)) if total else Text("")
    grid.add_row(Text(label, style="dim"), bar, Text(text))
    return grid
