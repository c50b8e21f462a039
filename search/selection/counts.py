"""Counts over a study: verdicts, reasons, epochs, and how often a collapse rule was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from scipy.special import betaincinv  # type: ignore[import-untyped]

from search.causes import Cause
from search.records import Fit, Trial, TrialState, Verdict
from search.selection.results import Audit, CauseTally, EpochTally

CLEARLY_LEARNED: Final = 0.05
"""Distance above chance, in the study's metric and in skill, from which an audited fit counts as wrongly stopped."""


def unique_fits(trials: Sequence[Trial]) -> tuple[Fit, ...]:
    """Return every fit of the trials once; trials of the same configuration share their fits."""
    return tuple({fit.key: fit for trial in trials for fit in trial.fits}.values())


def verdicts(fits: Sequence[Fit]) -> dict[str, int]:
    """Count the fits by verdict; all four verdicts are keys, also those that never occurred."""
    counts = Counter(fit.verdict for fit in fits)
    return {verdict.value: counts[verdict] for verdict in Verdict}


def collapse_reasons(fits: Sequence[Fit]) -> dict[str, int]:
    """Count the collapsed fits by reason code (`search.fit_checks.REASONS`), most frequent first."""
    counts = Counter(fit.reason or "unknown" for fit in fits if fit.verdict is Verdict.COLLAPSED)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def causes(fits: Sequence[Fit]) -> tuple[CauseTally, ...]:
    """Count how often each cause was named; the cause that was most often the likeliest one comes first."""
    first, named = Counter[str](), Counter[str]()
    strongest: dict[str, tuple[Cause, int]] = {}
    for fit in fits:
        for place, cause in enumerate(fit.causes):
            first[cause.code] += place == 0
            named[cause.code] += 1
            if cause.code not in strongest or cause.score > strongest[cause.code][0].score:
                strongest[cause.code] = (cause, fit.trial)
    order = sorted(named, key=lambda code: (-first[code], -named[code], code))
    return tuple(
        CauseTally(
            code=code, first=first[code], named=named[code], strongest=strongest[code][0], trial=strongest[code][1]
        )
        for code in order
    )


def symptoms(fits: Sequence[Fit]) -> dict[str, int]:
    """Count the fits by symptom (`search.causes.SYMPTOMS`), most frequent first; fits without a symptom don't count."""
    counts = Counter(fit.symptom for fit in fits if fit.symptom is not None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def epochs(trials: Sequence[Trial], folds: int, planned: int) -> EpochTally:
    """Count the epochs that were run, and those saved by collapse rules and by racing.

    A trial should run folds x planned epochs. If the trial collapsed, the epochs it did not run were saved by the
    collapse rules; if it was raced out, by racing. A trial that ran more than that, because a fold was fitted twice,
    saved 0. Classifiers that are solved exactly have no epochs, so they count for nothing here.

    Args:
        trials: all trials of the study.
        folds: number of folds in the study.
        planned: planned epochs per fit.
    """
    saved = {TrialState.COLLAPSED: 0, TrialState.RACED: 0}
    trained = [trial for trial in trials if not trial.configuration.is_closed_form]
    for trial in trained:
        if trial.state in saved:
            saved[trial.state] += max(0, folds * planned - sum(fit.epochs for fit in trial.fits))
    return EpochTally(
        run=sum(fit.epochs for fit in unique_fits(trained)),
        saved_by_collapse=saved[TrialState.COLLAPSED],
        saved_by_racing=saved[TrialState.RACED],
        full=len(trained) * folds * planned,
    )


def audit(fits: Sequence[Fit], chance: float) -> Audit:
    """Count the audited fits that a collapse rule would have stopped, and those of them that learned after all.

    A stop would have been wrong if the fit's score ended more than `CLEARLY_LEARNED` above chance and its skill, where
    it was measured, reached `CLEARLY_LEARNED`. Failed fits don't count.

    Args:
        fits: all fits of the study.
        chance: the metric's value for the constant predictor.
    """
    checked = [fit for fit in fits if fit.audit is not None and fit.verdict is not Verdict.FAILED]
    wrong = sum(
        fit.score is not None
        and fit.score > chance + CLEARLY_LEARNED
        and (fit.skill is None or fit.skill >= CLEARLY_LEARNED)
        for fit in checked
    )
    return Audit(checked=len(checked), wrongly_stopped=wrong, upper_95=upper_bound(wrong, len(checked)))


def upper_bound(count: int, n: int) -> float | None:
    """Return the one-sided upper 95 % bound, 0..1, of the rate count / n (Clopper and Pearson 1934); None for n = 0."""
    if n == 0:
        return None
    return 1.0 if count == n else float(betaincinv(count + 1, n - count, 0.95))
