"""The section Run: scores and times of the trials, epochs saved, and what is needed to reproduce it."""

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
from search.records import MICROBATCHES, TrialState
from search.selection.results import Results


@dataclass(frozen=True, slots=True)
class StateRow:
    """The trials that ended in one state."""

    state: str
    trials: int
    typical: str  # median time of a trial
    total: str


@dataclass(frozen=True, slots=True)
class Run:
    """The template data of the section Run: states and times of the trials, settings, versions."""

    sentence: str
    states: tuple[StateRow, ...]
    history: Drawing | None
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]  # on the plan and its execution
    settings: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def run(results: Results) -> Run:
    """Build the template data of the section Run: states and times of the trials, settings, versions."""
    study = results.study
    label = "Score and time of every trial in order, with the best so far; collapsed trials are drawn at chance"
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
    """Return the number of trials, the time, the device and the share of epochs saved."""
    study, epochs = results.study, results.epochs
    if not study.trials:
        return "The search ended before it tried a configuration. Run the same command again to continue."
    saved = epochs.saved_by_collapse + epochs.saved_by_racing
    share = (
        f"; early stopping saved {wording.percent(saved / epochs.full)} of the epochs" if epochs.full and saved else ""
    )
    tried = counted(len(study.trials), "configuration")
    return f"{tried} in {duration(study.seconds)} on {wording.shown(study.device)}{share}."


def notes(results: Results) -> tuple[str, ...]:
    """Return the notes on the plan and its execution."""
    study = results.study
    fits = [*(fit for trial in study.trials for fit in trial.fits), *study.further]
    parts = [fit.start[MICROBATCHES] for fit in fits if MICROBATCHES in fit.start]
    if not parts:
        return study.plan.notes
    return (
        *study.plan.notes,
        f"In {counted(len(parts), 'fit')} a whole batch did not fit into the memory of the device. It was processed "
        f"in up to {max(parts):.0f} parts and the gradients were added up, which gives the same step; batch "
        "normalization, if any, saw one part at a time.",
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
    is_any_exact = any(trial.configuration.is_closed_form for trial in study.trials)
    solved = "; classifiers that are solved exactly have no epochs" if is_any_exact else ""
    return [
        (duration(study.seconds), "of computing in all sessions"),
        (f"{sum(results.verdicts.values()):,}", f"fits of the search: {verdicts or 'none'}"),
        *([(f"{further:,}", "further fits: finalists, small changes, ablation, test")] if further else []),
        *(
            [
                (f"{epochs.run:,}", f"epochs run, of {epochs.full:,} without early stopping"),
                (f"{epochs.saved_by_collapse:,}", "epochs saved by collapse detection"),
                (f"{epochs.saved_by_racing:,}", "epochs saved by racing"),
                (f"{study.plan.folds} x {study.plan.epochs}", f"folds x epochs per configuration{solved}"),
            ]
            if epochs.full or not study.trials
            else [(f"{study.plan.folds}", "folds per configuration; no classifier was trained in epochs")]
        ),
    ]


def _rows(values: Any) -> list[tuple[str, str]]:
    """Return the settings as pairs of name and text; nested values as JSON."""
    return [
        (name, wording.shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
        for name, value in plain(values).items()
    ]
