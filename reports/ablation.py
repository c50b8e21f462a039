"""The ablation from the user's configuration to the recommended one, as text and rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reports.wording import compact, counted, duration, number
from search.records import Ablation, AblationStep, Waypoint
from search.selection.ablation import CLEAR, gain_error, gains
from search.selection.results import Results
from spaces.backbones import NO_BACKBONE

_NAMED: Final = 3  # changes of one step that a short description lists, at most


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One step of the ablation."""

    change: str
    short: str  # short form of `change`
    before: float
    score: float
    gain: float
    clear: bool  # larger than the noise; True if the noise is unknown
    predicted: float | None
    collapsed: str  # how many folds collapsed and why; empty if none did
    instead: str  # another change that was tried at this step


def rows(results: Results) -> list[AblationRow]:
    """Return the steps in order; none without an ablation."""
    ablation = results.study.ablation
    if ablation is None:
        return []
    error = gain_error(ablation, results.study.plan.folds)
    before, steps = ablation.start.score, []
    for step, gain in zip(ablation.steps, gains(ablation), strict=True):
        text = change(step)
        steps.append(
            AblationRow(
                change=text,
                short=_short(step, text),
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
    return steps


def change(step: AblationStep) -> str:
    """Return the changes of a step as `learning_rate 0.1 → 0.001`; a value that was inactive before has no arrow."""
    return ", ".join(
        f"{name} {compact(after)}" if before is None else f"{name} {compact(before)} → {compact(after)}"
        for name, (before, after) in step.changes.items()
    )


def _short(step: AblationStep, text: str) -> str:
    """Return `text`, or its sum if it lists many changes; they come together with a backbone, or when time runs out."""
    if len(step.changes) <= _NAMED:
        return text
    before, after = step.changes.get("backbone", (None, None))
    if before == NO_BACKBONE:
        return f"{after} in place of layers from scratch"
    return f"{counted(len(step.changes), 'change')} at once"


def collapsed(point: Waypoint) -> str:
    """Return how many folds collapsed at this point, and why; empty if none did."""
    if not point.reasons:
        return ""
    reasons = ", ".join(reason for reason, _ in Counter(point.reasons).most_common())
    return f"{len(point.reasons)} of {len(point.scores)} collapsed: {reasons}"


def sentence(results: Results) -> str:
    """Return which change mattered most; empty without an ablation."""
    ablation = results.study.ablation
    if ablation is None:
        return ""
    if not ablation.steps:
        return ablation.note
    ends = f"{number(ablation.start.score)} → {number(ablation.steps[-1].reached.score)}"
    texts = [f"{ends} on {counted(ablation.folds, 'fold')} of the search:"]
    steps = rows(results)
    most = max(steps, key=lambda row: row.gain)
    if most.gain <= 0:
        texts.append("no single change raises the score.")
    elif most.clear:
        texts.append(f"{most.short} mattered most ({signed(most.gain)}).")
    else:
        texts.append(f"{most.short} had the largest gain ({signed(most.gain)}), but it may be noise.")
    if (step := _end_of_collapse(ablation, steps)) is not None and step != most:
        texts.append(f"The collapses end with {step.short}.")
    return " ".join(texts)


def noise(results: Results) -> str:
    """Return the size of the noise in the gains; empty if it is unknown."""
    ablation = results.study.ablation
    error = gain_error(ablation, results.study.plan.folds) if ablation is not None else None
    return (
        ""
        if error is None
        else f"Gains have a standard error of {number(error)}; a gain below twice that may be noise."
    )


def cost(ablation: Ablation) -> str:
    """Return how the order of the changes was chosen, and what the ablation cost."""
    order = (
        f"comes from a random forest fitted to the search's {counted(ablation.trials, 'configuration')}"
        if ablation.trials
        else "is the default one, since there were too few trials to learn it from"
    )
    fits = f"{counted(ablation.trained, 'further fit')} and {duration(ablation.seconds)}"
    return f"The order of the changes {order}. This comparison step by step (ablation) took {fits}."


def signed(gain: float) -> str:
    """Return a number with its sign and three decimals."""
    return f"{gain:+.3f}".replace("-", "−")


def plain_ablation(results: Results) -> Mapping[str, Any] | None:
    """Return the ablation as plain values for `summary.json`; None without one."""
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


def _end_of_collapse(ablation: Ablation, rows: list[AblationRow]) -> AblationRow | None:
    """Return the step after which no fold collapses any more, if some did before."""
    points = [ablation.start, *(step.reached for step in ablation.steps)]
    last = max((place for place, point in enumerate(points) if point.reasons), default=None)
    return None if last is None or last == len(rows) else rows[last]
