"""The run: how it went, where the epochs and the time went, what is needed to do it again."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import Any

from reports import wording
from reports.figure_style import Drawing, drawing
from reports.plots.trials import history
from reports.summary import plain
from reports.wording import counted, duration
from search.records import PARTS, TrialState
from search.selection.results import Results


@dataclass(frozen=True, slots=True)
class StateRow:
    """Trials that ended alike."""

    state: str
    trials: int
    typical: str  # time of the median trial
    total: str


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that the section shows."""

    sentence: str
    states: tuple[StateRow, ...]
    history: Drawing | None
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]  # on the plan, and on what became of it
    settings: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def run(results: Results) -> Run:
    """The section, laid out."""
    study = results.study
    label = "Score and time of every trial in order, with the best so far; collapsed trials lie on the line of chance"
    return Run(
        sentence=sentence(results),
        states=tuple(_states(results)),
        history=drawing(history(results), label) if study.trials else None,
        facts=tuple(_facts(results)),
        notes=notes(results),
        settings=tuple(_rows(study.settings)),
        versions=tuple(_rows(study.versions)),
    )


def sentence(results: Results) -> str:
    """How long, on what, and how much was saved."""
    study, epochs = results.study, results.epochs
    if not study.trials:
        return "The search ended before one configuration was tried. The same command goes on where it stopped."
    saved = epochs.saved_by_collapse + epochs.saved_by_racing
    share = (
        f"; stopping early saved {wording.percent(saved / epochs.full)} of the epochs" if epochs.full and saved else ""
    )
    tried = counted(len(study.trials), "configuration")
    return f"{tried} in {duration(study.seconds)} on {wording.shown(study.device)}{share}."


def notes(results: Results) -> tuple[str, ...]:
    """On the plan, and on what became of it."""
    study = results.study
    fits = [*(fit for trial in study.trials for fit in trial.fits), *study.further]
    parts = [fit.start[PARTS] for fit in fits if PARTS in fit.start]
    if not parts:
        return study.plan.notes
    return (
        *study.plan.notes,
        f"In {counted(len(parts), 'training')} a batch found no room on the device whole: it went through in up to "
        f"{max(parts):.0f} parts, the gradients summed. That is the same step; batch normalization, if any, saw "
        "a part at a time.",
    )


def _states(results: Results) -> list[StateRow]:
    rows = []
    for state in TrialState:
        times = [trial.seconds for trial in results.study.trials if trial.state is state]
        if times:
            rows.append(
                StateRow(
                    wording.STATE_WORDS[state], len(times), duration(statistics.median(times)), duration(sum(times))
                )
            )
    return rows


def _facts(results: Results) -> list[tuple[str, str]]:
    epochs, study = results.epochs, results.study
    verdicts = ", ".join(f"{count:,} {word}" for word, count in results.verdicts.items() if count)
    further = len(study.further)
    return [
        (duration(study.seconds), "wall clock, all sessions"),
        (f"{sum(results.verdicts.values()):,}", f"trainings of the search: {verdicts or 'none'}"),
        *([(f"{further:,}", "further trainings: finalists, neighbours, ablation, test")] if further else []),
        (f"{epochs.run:,}", f"epochs run of {epochs.full:,} without any stop"),
        (f"{epochs.saved_by_collapse:,}", "epochs saved by the collapse watch"),
        (f"{epochs.saved_by_racing:,}", "epochs saved by racing"),
        (f"{study.plan.folds} x {study.plan.epochs}", "folds x epochs a configuration"),
    ]


def _rows(values: Any) -> list[tuple[str, str]]:
    """Settings as names and texts; nested ones as JSON."""
    return [
        (name, wording.shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
        for name, value in plain(values).items()
    ]
