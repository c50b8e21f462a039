"""The way from the user's configuration to the recommended one, in words and rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reports.wording import compact, counted, duration, number
from search.records import Ablation, AblationStep, Waypoint
from search.selection.ablation import CLEAR, gain_error, gains
from search.selection.results import Results

_NAMED: Final = 3  # changes of one step that are named where space is short


@dataclass(frozen=True, slots=True)
class Row:
    """One step of the way."""

    change: str
    short: str  # the same, cut to a few words
    before: float
    score: float
    gain: float
    clear: bool  # beyond noise; True where noise is not known
    predicted: float | None
    collapsed: str  # "" or how many of the folds, and why
    instead: str  # what was tried here too


def rows(results: Results) -> list[Row]:
    """The steps, in order; none without a way."""
    ablation = results.study.ablation
    if ablation is None:
        return []
    error = gain_error(ablation, results.study.plan.folds)
    before, made = ablation.start.score, []
    for step, gain in zip(ablation.steps, gains(ablation), strict=True):
        text = change(step)
        made.append(
            Row(
                change=text,
                short=text if len(step.changes) <= _NAMED else f"{counted(len(step.changes), 'change')} at once",
                before=before,
                score=step.reached.score,
                gain=gain,
                clear=error is None or abs(gain) >= CLEAR * error,
                predicted=step.predicted,
                collapsed=collapsed(step.reached),
                instead=f"{change(step.instead)}: {number(step.instead.reached.score)}" if step.instead else "",
            )
        )
        before = step.reached.score
    return made


def change(step: AblationStep) -> str:
    """`learning_rate 0.1 → 0.001`; what meant nothing before has no arrow."""
    return ", ".join(
        f"{name} {compact(after)}" if before is None else f"{name} {compact(before)} → {compact(after)}"
        for name, (before, after) in step.changes.items()
    )


def collapsed(point: Waypoint) -> str:
    """How many folds collapsed there, and why; empty if none did."""
    if not point.reasons:
        return ""
    reasons = ", ".join(reason for reason, _ in Counter(point.reasons).most_common())
    return f"{len(point.reasons)} of {len(point.scores)} collapsed: {reasons}"


def sentence(results: Results) -> str:
    """What the way says, and no more than that; empty without one."""
    ablation = results.study.ablation
    if ablation is None:
        return ""
    if not ablation.steps:
        return ablation.note
    ends = f"{number(ablation.start.score)} → {number(ablation.steps[-1].reached.score)}"
    told = [f"From your configuration to the recommended one ({ends} on {counted(ablation.folds, 'fold')}):"]
    made = rows(results)
    most = max(made, key=lambda row: row.gain)
    if most.gain <= 0:
        told.append("no change by itself raises the score.")
    elif most.clear:
        told.append(f"{most.short} mattered most ({signed(most.gain)}).")
    else:
        told.append(f"{most.short} gained most ({signed(most.gain)}), which may still be noise between folds.")
    if (mend := _end_of_collapse(ablation, made)) is not None and mend != most:
        told.append(f"The collapse ends with {mend.short}.")
    return " ".join(told)


def noise(results: Results) -> str:
    """What of the gains may be noise; empty where that is not known."""
    ablation = results.study.ablation
    error = gain_error(ablation, results.study.plan.folds) if ablation is not None else None
    return "" if error is None else f"A gain has a standard error of {number(error)}; below twice that it may be noise."


def cost(ablation: Ablation) -> str:
    """What was trained for it, and where the order comes from."""
    order = (
        f"proposed by a random forest on {counted(ablation.trials, 'configuration')} of the search"
        if ablation.trials
        else "the usual one, as there were too few trials to learn it from"
    )
    fits = f"{counted(ablation.trained, 'training')} of {duration(ablation.seconds)} in all"
    return f"The order is {order}. Beyond those of the search it took {fits}."


def signed(gain: float) -> str:
    """With its sign, three decimals."""
    return f"{gain:+.3f}".replace("-", "−")


def plain_ablation(results: Results) -> Mapping[str, Any] | None:
    """For `summary.json`; None without a way."""
    ablation = results.study.ablation
    if ablation is None:
        return None
    return {
        "start_score": ablation.start.score,
        "folds": ablation.folds,
        "gain_se": gain_error(ablation, results.study.plan.folds),
        "trained": ablation.trained,
        "cut_short": ablation.cut_short,
        "note": ablation.note,
        "steps": [
            {
                "changes": {name: list(ends) for name, ends in step.changes.items()},
                "score": step.reached.score,
                "gain": gain,
                "predicted": step.predicted,
                "collapsed": list(step.reached.reasons),
            }
            for step, gain in zip(ablation.steps, gains(ablation), strict=True)
        ],
    }


def _end_of_collapse(ablation: Ablation, made: list[Row]) -> Row | None:
    """The step after which no fold collapses any more, if some did at the start."""
    points = [ablation.start, *(step.reached for step in ablation.steps)]
    last = max((place for place, point in enumerate(points) if point.reasons), default=None)
    return None if last is None or last == len(made) else made[last]
