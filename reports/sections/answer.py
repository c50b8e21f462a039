"""The section Answer: the recommended configuration, the score to expect from it, and the next steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reports import configurations, next_commands, wording
from reports.best_config import best_config_text
from reports.scales import Scale
from reports.sections.pretraining import probe_note, worth_sentence
from reports.wording import counted, number, percent
from search.records import Verdict
from search.selection.baselines import SIDE
from search.selection.results import Finalist, Recommendation, Results

INCONCLUSIVE: Final = "Inconclusive: the network is not clearly better than a simple baseline"
_BASELINES: Final = {"knn": "nearest neighbour", "logistic": "logistic regression"}

_SOLVED: Final = "Its classifier is solved exactly, without training steps, so it can't collapse."


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of the forest plot: a value on the scale of the metric, with a note that says where it comes from."""

    kind: str  # CSS class
    name: str
    value: float
    note: str = ""
    low: float | None = None  # lower end of the whisker; None without one
    high: float | None = None  # upper end
    dots: tuple[
        tuple[str, float], ...
    ] = ()  # names and values of several marks in one row; `value` is then the largest


@dataclass(frozen=True, slots=True)
class Refits:
    """The fits of the recommended configuration on fresh splits, and how many of them collapsed."""

    collapsed: tuple[bool, ...]  # one value per fit, collapsed ones last; empty if none can collapse
    sentence: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The template data of the section Answer: score to expect, configuration, YAML and next steps."""

    title: str
    warnings: tuple[str, ...]
    marks: tuple[Mark, ...]
    scale: Scale
    method: str  # how the promise is estimated
    worth: str  # what pretraining is worth; empty unless both families were tried
    sentence: str = ""  # describes the configuration
    yaml: str = ""  # text of best_config.yaml
    refits: Refits | None = None  # None without finished fits on fresh splits
    not_confirmed: str = ""  # what the search says about a recommendation without `refits`
    nothing: str = ""  # why no configuration is recommended
    equals: str = ""  # finalists that may be as good
    next_steps: tuple[tuple[str, str], ...] = ()  # purpose and command


def answer(results: Results) -> Answer:
    """Build the template data of the section Answer: score to expect, configuration, YAML and next steps."""
    rows = marks(results)
    recommended = results.recommended
    return Answer(
        title=title(results),
        warnings=tuple(warnings(results)),
        marks=tuple(rows),
        scale=scale(results, rows),
        method=_method(results, recommended) if recommended else "",
        worth=worth_sentence(results),
        sentence=configurations.sentence(recommended.ranked.trial.configuration) if recommended else "",
        yaml=best_config_text(results, recommended) if recommended else "",
        refits=refits(recommended.finalist) if recommended and recommended.finalist else None,
        not_confirmed=not_confirmed(results),
        nothing="" if recommended else nothing(results),
        equals=equals(results),
        next_steps=next_steps(results),
    )


def title(results: Results) -> str:
    """Return the heading of the section: how the search ended."""
    if results.recommended:
        if results.recommended.promise.inconclusive:
            return INCONCLUSIVE
        return "Recommended configuration"
    return wording.headed(
        wording.shown(results.reason or ("No recommendation" if results.study.trials else "No configuration tried yet"))
    )


def marks(results: Results) -> list[Mark]:
    """Return the promise and the values to compare it with, the most reliable first."""
    rows: list[Mark] = []
    if recommended := results.recommended:
        promise, finalist = recommended.promise, recommended.finalist
        rows.append(
            Mark("promise", "promise", promise.value, "expected on new images", low=promise.low, high=promise.high)
        )
        if results.study.test:
            note = (
                f"one model trained on all images, scored on {counted(results.study.test.n, 'image')} never used before"
            )
            rows.append(Mark("test", "test", results.study.test.score, note))
        if finalist:
            ends = (finalist.mean - finalist.se, finalist.mean + finalist.se)
            note = f"mean ± SE of {counted(len(finalist.scores), 'fit')} on fresh splits"
            rows.append(Mark("fresh", "trained again", finalist.mean, note, *ends))
        rows += _others(results, recommended)
        note = "pooled over the folds; optimistic, as it is the best of many"
        rows.append(Mark("optimistic", "search score", recommended.ranked.pooled, note))
    for name, value in results.study.baselines.items():
        if name in _BASELINES and math.isfinite(value):
            rows.append(Mark("baseline", _BASELINES[name], value, f"same folds, images scaled to {SIDE} x {SIDE}"))
    if probe := results.linear_probe:
        rows.append(Mark("baseline", "features + logistic regression", probe.ranked.pooled, probe_note(results)))
    rows.append(Mark("chance", "chance", results.chance, "score of a constant prediction, which ignores the image"))
    return rows


def scale(results: Results, rows: Sequence[Mark]) -> Scale:
    """Return a scale that holds all marks with their whiskers and dots."""
    values = [v for mark in rows for v in (mark.value, mark.low, mark.high) if v is not None]
    values += [value for mark in rows for _, value in mark.dots]
    return Scale.around([value for value in values if math.isfinite(value)] or [results.chance])


def refits(finalist: Finalist) -> Refits:
    """Return how many of the finalist's fits on fresh splits collapsed, or the worst of them if none can."""
    if finalist.trial.configuration.is_closed_form:
        fits = counted(len(finalist.fits), "fit")
        return Refits((), f"{_SOLVED} The worst of its {fits} on fresh splits has {number(finalist.worst)}.")
    collapsed = sorted(fit.verdict is Verdict.COLLAPSED for fit in finalist.fits)
    return Refits(
        tuple(collapsed),
        f"{finalist.collapsed} of {counted(len(finalist.fits), 'fit')} collapsed; at most "
        f"{percent(finalist.collapse_upper)} of new fits would collapse (95 % confidence).",
    )


def not_confirmed(results: Results) -> str:
    """Return what is known of a recommendation that has no finished fits on fresh splits; else an empty text."""
    if results.recommended is None or results.recommended.finalist:
        return ""
    why = (
        "Its fits on fresh splits were not finished, so they are not counted."
        if results.finalists
        else "It was not trained again on fresh splits."
    )
    ranked = results.recommended.ranked
    if ranked.trial.configuration.is_closed_form:
        return f"{why} {_SOLVED}"
    collapsed = percent(ranked.collapse_rate) if ranked.collapse_rate else "none"
    return f"{why} In the search, {collapsed} of its {counted(len(ranked.trial.fits), 'fit')} collapsed."


def nothing(results: Results) -> str:
    """Return why no configuration is recommended."""
    if not results.study.trials:
        return (
            "The search ended before it tried a configuration. Run the same command again to continue; nothing that "
            "was done is lost."
        )
    if any(finalist.complete for finalist in results.finalists):
        return (
            f"None of the {counted(len(results.finalists), 'finalist')} passed when trained again: each collapsed too "
            "often or was not above chance by more than its standard error. So none is recommended."
        )
    if results.ranking:
        return (
            f"None of the {counted(len(results.ranking), 'configuration')} scored on all folds is above chance by more "
            "than its standard error, so none is recommended."
        )
    return "No configuration was scored on all folds, so none is recommended."


def warnings(results: Results) -> list[str]:
    """Return the reservations about the recommendation; none without one."""
    recommended = results.recommended
    if recommended is None:
        return []
    texts = []
    promise = recommended.promise
    if promise.inconclusive:
        more = (
            f"About {counted(_about(promise.images_needed), 'image')} in total would probably be enough to decide; you "
            f"have {results.study.data.images:,}."
            if promise.images_needed
            else "More images, or images with more detail, may be enough to decide."
        )
        texts.append(
            "The 95 % interval is not entirely above the score of the best simple baseline, so these images do not "
            f"show that the network is better. {more}"
        )
    test = results.study.test
    if test and test.score < promise.low:
        texts.append(
            "The test score is below the 95 % interval. The test images may differ from the training images, the final "
            f"fit may have gone wrong, or it is chance, as there are {counted(test.n, 'test image')}."
        )
    if apart := results.study.data.apart:
        texts.append(
            f"Copies of the same image are on both sides of splits in {', '.join(map(wording.shown, apart))}, because "
            "there are too few distinct images. The scores of these classes are too high."
        )
    if not (recommended.finalist.healthy if recommended.finalist else recommended.ranked.healthy):
        texts.append("This configuration is not healthy: its score minus its standard error is not above chance.")
    if recommended.finalist and recommended.finalist.veto:
        texts.append("More than a tenth of its fits on fresh splits collapsed.")
    if results.neighbourhood and results.neighbourhood.cliff:
        texts.append(
            "The configuration is near a cliff: a small change of one setting can lower the score sharply, or make the "
            "network collapse (see What matters)."
        )
    return texts


def next_steps(results: Results) -> tuple[tuple[str, str], ...]:
    """Return the next steps as pairs of purpose and shell command; none without a recommendation."""
    if results.recommended is None:
        return ()
    return (
        (
            f"Train it on all images{next_commands.place(results.study)}",
            next_commands.train(results.study, results.recommended.ranked.trial.configuration),
        ),
        ("Predict new images", next_commands.predict()),
    )


def _others(results: Results, recommended: Recommendation) -> list[Mark]:
    """Return the other finalists as one row; none if there are no others."""
    own = recommended.ranked.trial.number
    others = [finalist for finalist in results.finalists if finalist.trial.number != own and finalist.scores]
    if not others:
        return []
    dots = tuple((f"trial {finalist.trial.number}", finalist.mean) for finalist in others)
    is_single = len(others) == 1
    name = "other finalist" if is_single else "other finalists"
    note = "mean on fresh splits" if is_single else f"mean of each of the {len(others)} on fresh splits"
    return [Mark("other", name, max(mean for _, mean in dots), note, dots=dots)]


def _method(results: Results, recommended: Recommendation) -> str:
    """Return how the promise is estimated, and how it is corrected for the luck of the selection."""
    corrected = (
        "It is corrected for the luck of being the best of many: a bootstrap repeats the selection on resampled images."
    )
    if recommended.promise.stages == 1:
        return f"The promise is estimated from the search alone, without fits on fresh splits. {corrected}"
    if sum(finalist.complete for finalist in results.finalists) == 1:
        return (
            "The promise is estimated from fits on fresh splits. There is no visible correction for the luck of being "
            "the best of many, because only one finalist was trained again."
        )
    return f"The promise is estimated from fits on fresh splits. {corrected}"


def equals(results: Results) -> str:
    """Return which finalists are statistically as good as the recommended one; empty if none is."""
    own = results.recommended.ranked.trial.number if results.recommended else None
    equal = [finalist for finalist in results.finalists if finalist.equal and finalist.trial.number != own]
    if not equal:
        return ""
    names = wording.listed([f"trial {finalist.trial.number}" for finalist in equal])
    verb = "is" if len(equal) == 1 else "are"
    return f"{wording.headed(names)} {verb} not significantly different from the recommended one and may be as good."


def _about(count: int) -> int:
    """Round to two significant digits, since the estimate is no more precise than that.

    >>> _about(29_041), _about(84)
    (29000, 84)
    """
    return int(float(f"{count:.2g}"))
