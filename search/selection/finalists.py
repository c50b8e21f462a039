"""Finalists: results of the search's best configurations, fitted again on fresh splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.records import CONFIRM, Confirmation, Fit, StudyRecord, Trial, TrialState, Verdict
from search.selection import robust_score
from search.selection.corruption_losses import corruption_losses
from search.selection.counts import upper_bound
from search.selection.equivalence import not_distinguishable
from search.selection.ranking import Candidate, by_size_then_speed
from search.selection.results import Finalist
from search.selection.scores import JUDGED, OutOfFold, fit_score, out_of_fold
from search.selection.standard_error import variance_factor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ConfirmedFinalist:
    """A finalist with its out-of-fold predictions on the fresh splits."""

    finalist: Finalist
    place: int  # index among the search's candidates
    repeats: tuple[OutOfFold, ...]  # predictions on each fresh split; empty unless the finalist is complete


def confirmed_finalists(
    study: StudyRecord, ranked: Sequence[Candidate], chance: float
) -> tuple[ConfirmedFinalist, ...]:
    """Return the finalists with the scores of their fits on fresh splits.

    Args:
        study: record of the study; without a confirmation there are no finalists.
        ranked: the search's candidates, best first.
        chance: the metric's value for the constant predictor.

    Returns:
        The winner first, if any finalist is healthy; then the complete finalists by robust score R, then the ones that
        were not fitted to the end.
    """
    plan = study.confirmation
    if plan is None or plan.repeats == 0:
        return ()
    by_hash = {one.ranked.trial.configuration.hash: place for place, one in enumerate(ranked)}
    fits = _by_configuration(study.further, plan)
    judged = [(by_hash[name], fits[name]) for name in plan.finalists if fits.get(name) and name in by_hash]
    gathered = [_gathered(ranked[place], place, own, study, plan, chance) for place, own in judged]
    return _ranked(gathered, ranked, plan, chance)


def _by_configuration(fits: Sequence[Fit], plan: Confirmation) -> Mapping[str, list[Fit]]:
    """The judged fits of the planned repeats, by repeat, then fold."""
    judged: dict[str, list[Fit]] = {}
    for fit in sorted(fits, key=lambda fit: (fit.repeat, fit.fold)):
        if fit.stage == CONFIRM and fit.repeat < plan.repeats and fit.fold < plan.folds and fit.verdict in JUDGED:
            judged.setdefault(fit.configuration, []).append(fit)
    return judged


def _gathered(
    candidate: Candidate, place: int, fits: Sequence[Fit], study: StudyRecord, plan: Confirmation, chance: float
) -> ConfirmedFinalist:
    """One finalist by itself; its standard error is set later, from the fits of all."""
    trial, scores = candidate.ranked.trial, tuple(fit_score(fit, chance) for fit in fits)
    dropped = plan.dropped.get(trial.configuration.hash)
    complete = len(fits) == plan.repeats * plan.folds and dropped is None
    collapsed = sum(fit.verdict is Verdict.COLLAPSED for fit in fits)
    finalist = Finalist(
        trial=trial,
        fits=tuple(fits),
        scores=scores,
        mean=float(np.mean(scores)),
        se=0.0,
        robust=0.0,
        worst=min(scores),
        collapsed=collapsed,
        collapse_upper=upper_bound(collapsed, len(fits)) or 0.0,
        complete=complete,
        veto=robust_score.vetoed(collapsed, len(fits)),
        healthy=False,
        parameters=candidate.weights,
        dropped=dropped,
        corruptions=corruption_losses(fits),
    )
    repeats = tuple(_predictions(trial, fits, r, study, plan) for r in range(plan.repeats)) if complete else ()
    return ConfirmedFinalist(finalist=finalist, place=place, repeats=repeats)


def _predictions(trial: Trial, fits: Sequence[Fit], repeat: int, study: StudyRecord, plan: Confirmation) -> OutOfFold:
    own = tuple(fit for fit in fits if fit.repeat == repeat)
    as_trial = replace(trial, state=TrialState.COMPLETE, fits=own)
    predictions = out_of_fold(as_trial, study.labels, study.identity.metric, plan.folds)
    assert predictions is not None  # every fold was judged
    return predictions


def _ranked(
    finalists: Sequence[ConfirmedFinalist], ranked: Sequence[Candidate], plan: Confirmation, chance: float
) -> tuple[ConfirmedFinalist, ...]:
    if not finalists:
        return ()
    complete = [one for one in finalists if one.finalist.complete]
    partial = [one for one in finalists if not one.finalist.complete]
    errors = list(robust_score.errors(score_table(complete), plan.folds)) if complete else []
    typical = float(np.sqrt(np.mean([np.var(one.finalist.scores) for one in finalists])))
    factor = [np.sqrt(variance_factor(len(one.finalist.scores), plan.folds)) for one in partial]
    judged = [_judged(one, float(error), chance) for one, error in zip(complete, errors, strict=True)]
    rest = [_judged(one, typical * float(f), chance) for one, f in zip(partial, factor, strict=True)]
    judged.sort(key=lambda one: -one.finalist.robust)
    rest.sort(key=lambda one: -one.finalist.robust)
    healthy = np.array([one.finalist.healthy for one in judged], np.bool_)
    if healthy.any():
        order = by_size_then_speed([ranked[one.place] for one in judged])
        best = int(
            robust_score.winner(score_table(judged), plan.folds, order, healthy)
        )  # errors shrunk over all of them
        judged.insert(0, judged.pop(best))
    return _compared((*judged, *rest), plan.folds)


def _compared(finalists: Sequence[ConfirmedFinalist], folds: int) -> tuple[ConfirmedFinalist, ...]:
    """Mark the healthy finalists that can't be told apart from the first; dropped finalists are never healthy."""
    equal = not_distinguishable([one.finalist.scores for one in finalists], 0, folds)
    return tuple(
        replace(one, finalist=replace(one.finalist, equal=same and one.finalist.healthy))
        for one, same in zip(finalists, equal, strict=True)
    )


def score_table(finalists: Sequence[ConfirmedFinalist]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the scores of m complete finalists as a table `(m, J)` float64: J fits each, by repeat, then fold."""
    return np.array([one.finalist.scores for one in finalists], np.float64)


def _judged(one: ConfirmedFinalist, error: float, chance: float) -> ConfirmedFinalist:
    own = one.finalist
    lower = own.mean - error
    return replace(
        one, finalist=replace(own, se=error, robust=lower, healthy=own.complete and not own.veto and lower > chance)
    )
