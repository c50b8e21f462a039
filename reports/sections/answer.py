"""The answer: what to use, what to expect of it, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reports import next_commands, wording
from reports.best_config import best_config_text
from reports.scales import Scale
from reports.wording import counted, percent
from search.records import Verdict
from search.selection.results import Finalist, Recommendation, Results

_BASELINES: Final = {"knn": "nearest neighbour", "logistic": "logistic regression"}


@dataclass(frozen=True, slots=True)
class Mark:
    """One value on the scale of the answer, a row of its own."""

    kind: str  # class of the stylesheet
    name: str
    value: float
    note: str = ""
    low: float | None = None  # of its whisker
    high: float | None = None
    dots: tuple[tuple[str, float], ...] = ()  # several of a kind with their names; `value` is then the largest


@dataclass(frozen=True, slots=True)
class Retrainings:
    """How often the recommended configuration was trained again, and what became of it."""

    collapsed: tuple[bool, ...]  # a fit each, collapsed ones last
    sentence: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that the section shows."""

    title: str
    warnings: tuple[str, ...]
    marks: tuple[Mark, ...]
    scale: Scale
    method: str
    sentence: str = ""  # the configuration in words
    yaml: str = ""
    retrainings: Retrainings | None = None
    not_confirmed: str = ""
    nothing: str = ""
    equals: str = ""
    next_steps: tuple[tuple[str, str], ...] = ()  # what for, command


def answer(results: Results) -> Answer:
    """The section, laid out."""
    shown = marks(results)
    recommended = results.recommended
    return Answer(
        title=title(results),
        warnings=tuple(warnings(results)),
        marks=tuple(shown),
        scale=scale(results, shown),
        method=_method(recommended) if recommended else "",
        sentence=wording.sentence(recommended.ranked.trial.configuration) if recommended else "",
        yaml=best_config_text(results, recommended) if recommended else "",
        retrainings=retrainings(recommended.finalist) if recommended and recommended.finalist else None,
        not_confirmed=not_confirmed(results),
        nothing="" if recommended else nothing(results),
        equals=equals(results),
        next_steps=next_steps(results),
    )


def title(results: Results) -> str:
    """How it ended, in a few words."""
    if results.recommended:
        if results.recommended.promise.inconclusive:
            return "Inconclusive: no better than simple baselines can be promised"
        return "Recommended configuration"
    return wording.headed(
        wording.shown(results.reason or ("No recommendation" if results.study.trials else "Nothing tried yet"))
    )


def marks(results: Results) -> list[Mark]:
    """The promise and all that it is to be held against, best known first."""
    found: list[Mark] = []
    if recommended := results.recommended:
        promise, finalist = recommended.promise, recommended.finalist
        found.append(
            Mark("promise", "promise", promise.value, "expected on new images", low=promise.low, high=promise.high)
        )
        if results.study.test:
            n = results.study.test.n
            found.append(Mark("test", "test", results.study.test.score, f"{n:,} images never touched"))
        if finalist:
            ends = (finalist.mean - finalist.se, finalist.mean + finalist.se)
            note = f"mean ± SE of {counted(len(finalist.scores), 'training')} on fresh splits"
            found.append(Mark("fresh", "trained again", finalist.mean, note, *ends))
        found += _others(results, recommended)
        found.append(Mark("optimistic", "search mean", recommended.ranked.pooled, "optimistic: the luckiest of many"))
    for name, value in results.study.baselines.items():
        if name in _BASELINES and math.isfinite(value):
            found.append(Mark("baseline", _BASELINES[name], value, "on small pixels"))
    found.append(Mark("chance", "chance", results.chance, "always the class shares"))
    return found


def scale(results: Results, shown: Sequence[Mark]) -> Scale:
    """A stretch that holds all marks with their whiskers and dots."""
    values = [v for mark in shown for v in (mark.value, mark.low, mark.high) if v is not None]
    values += [value for mark in shown for _, value in mark.dots]
    return Scale.around([value for value in values if math.isfinite(value)] or [results.chance])


def retrainings(finalist: Finalist) -> Retrainings:
    """How many of the fresh trainings collapsed."""
    n = len(finalist.fits)
    kinds = sorted(fit.verdict is Verdict.COLLAPSED for fit in finalist.fits)
    return Retrainings(
        tuple(kinds),
        f"{finalist.collapsed} of {counted(n, 'retraining')} collapsed: with 95 % confidence at most "
        f"{percent(finalist.collapse_upper)} of new ones will.",
    )


def not_confirmed(results: Results) -> str:
    """What is known of the recommendation where no finalist stands behind it; empty without a recommendation."""
    if results.recommended is None or results.recommended.finalist:
        return ""
    why = (
        "The trainings on fresh splits were not finished, so they don't count."
        if results.finalists
        else "It was not trained again on fresh splits."
    )
    ranked = results.recommended.ranked
    collapsed = percent(ranked.collapse_rate) if ranked.collapse_rate else "none"
    return f"{why} In the search {collapsed} of its {counted(len(ranked.trial.fits), 'training')} collapsed."


def nothing(results: Results) -> str:
    """Why no configuration is recommended."""
    if not results.study.trials:
        return (
            "The search ended before one configuration was tried. The same command goes on where it stopped; what is "
            "done is kept."
        )
    if any(finalist.complete for finalist in results.finalists):
        return (
            f"None of the {counted(len(results.finalists), 'finalist')} held when trained again: they collapsed too "
            "often, or did not stay above chance by more than their standard error. So none is recommended."
        )
    if results.ranking:
        return (
            f"None of the {counted(len(results.ranking), 'configuration')} judged on all folds stays above chance by "
            "more than its standard error, so none is recommended."
        )
    return "No configuration was judged on all folds, so none is recommended."


def warnings(results: Results) -> list[str]:
    """What keeps the answer from being a plain one."""
    recommended = results.recommended
    if recommended is None:
        return []
    found = []
    promise = recommended.promise
    if promise.inconclusive:
        more = (
            f"About {counted(_about(promise.images_needed), 'image')} in all would probably settle it; there are "
            f"{results.study.data.images:,}."
            if promise.images_needed
            else "More images, or images with more detail, would tell."
        )
        found.append(
            "The interval reaches down to the best simple baseline: these images do not show that the network is "
            f"worth more. {more}"
        )
    test = results.study.test
    if test and test.score < promise.low:
        found.append(
            f"The test score lies below the interval: by the luck of {counted(test.n, 'image')}, or because they "
            "differ from the others."
        )
    if apart := results.study.data.apart:
        found.append(
            f"Copies of one picture lie on both sides of splits in {', '.join(map(wording.shown, apart))}: there "
            "are too few other pictures. What is expected there is too good."
        )
    if not (recommended.finalist.healthy if recommended.finalist else recommended.ranked.healthy):
        found.append("This configuration is not healthy: less its standard error it is not above chance.")
    if recommended.finalist and recommended.finalist.veto:
        found.append("More than a tenth of its retrainings collapsed.")
    if results.neighbourhood and results.neighbourhood.cliff:
        found.append("It stands near a cliff: small changes cost much (see what matters).")
    return found


def next_steps(results: Results) -> tuple[tuple[str, str], ...]:
    """What to do with the recommendation, as commands."""
    if results.recommended is None:
        return ()
    return (
        ("Train it on all images", next_commands.train(results.study, results.recommended.ranked.trial.configuration)),
        ("Use it on new ones", next_commands.predict()),
    )


def _others(results: Results, recommended: Recommendation) -> list[Mark]:
    """The other finalists in one row."""
    own = recommended.ranked.trial.number
    others = [finalist for finalist in results.finalists if finalist.trial.number != own and finalist.scores]
    if not others:
        return []
    dots = tuple((f"trial {finalist.trial.number}", finalist.mean) for finalist in others)
    alone = len(others) == 1
    name = "other finalist" if alone else "other finalists"
    note = "mean on fresh splits" if alone else f"means of {len(others)} on fresh splits"
    return [Mark("other", name, max(mean for _, mean in dots), note, dots=dots)]


def _method(recommended: Recommendation) -> str:
    if recommended.promise.stages == 1:
        how = "estimated from the search alone, without trainings on fresh splits."
    else:
        how = "with fresh trainings on fresh splits, the whole choice repeated on drawn images."
    return f"The promise is what the choice is worth without the luck of being the best of many, {how}"


def equals(results: Results) -> str:
    """Which of the others are as good, as far as can be told."""
    own = results.recommended.ranked.trial.number if results.recommended else None
    equal = [finalist for finalist in results.finalists if finalist.equal and finalist.trial.number != own]
    if not equal:
        return ""
    names = wording.listed([f"trial {finalist.trial.number}" for finalist in equal])
    return f"{wording.headed(names)} can't be told apart from it and may be as good."


def _about(count: int) -> int:
    """In two digits: an estimate knows no more.

    >>> _about(29_041), _about(84)
    (29000, 84)
    """
    return int(float(f"{count:.2g}"))
