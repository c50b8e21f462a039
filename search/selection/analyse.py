"""Analysis of a study: computes everything that the reports present from the study's record.

The same record always gives the same results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from search import seeds
from search.records import COLLAPSES, StudyRecord, TrialState
from search.selection import counts
from search.selection.depth_map import depth_map
from search.selection.families import linear_probe, network_kinds, worth_of_pretraining
from search.selection.finalists import ConfirmedFinalist, confirmed_finalists
from search.selection.image_results import on_images
from search.selection.importances import importances
from search.selection.label_permutation import label_control
from search.selection.metrics import chance
from search.selection.neighbourhood import neighbourhood
from search.selection.promise import SecondStage, promise
from search.selection.ranking import Candidate, by_size_then_speed, candidates
from search.selection.results import Control, Neighbourhood, OnImages, Recommendation, Results, SafeRange
from search.selection.safe_ranges import safe_ranges
from search.selection.shortlist import shortlist

_DRAFT: Final = 4  # draws of a promise that nobody reads

NONE_JUDGED = "no configuration judged"
NONE_HEALTHY = "no healthy configuration"


def analyse(study: StudyRecord, *, draft: bool = False) -> Results:
    """Rank the study's configurations, recommend one if any is healthy, and count fits, collapses and epochs.

    An interrupted study can be analysed too, even one without any trial.

    Args:
        study: record of the study.
        draft: compute quickly, for callers that need only the ranking. The promise and the decision offset are then
            meaningless placeholders; importances, results by image and the label control are None.
    """
    metric, folds = study.identity.metric, study.plan.folds
    at_chance = chance(metric, study.labels)
    ranked = candidates(study.trials, study.labels, metric, at_chance, study.protocol, folds)
    finalists = confirmed_finalists(study, ranked, at_chance)
    recommended = _recommendation(study, ranked, finalists, at_chance, _DRAFT if draft else None)
    study = _without_stale(study, recommended)
    fits = counts.unique_fits(study.trials)
    around = _neighbourhood(study, recommended, at_chance)
    cells, sentence = depth_map(study.trials, at_chance)
    ranking = tuple(one.ranked for one in ranked)
    return Results(
        study=study,
        chance=at_chance,
        ranking=ranking,
        recommended=recommended,
        reason=None if recommended else _reason(study),
        verdicts=counts.verdicts(fits),
        collapse_reasons=counts.collapse_reasons(fits),
        causes=counts.causes(fits),
        symptoms=counts.symptoms(fits),
        control=None if recommended or draft else _control(study, ranked, at_chance),
        audit=counts.audit(fits, at_chance),
        epochs=counts.epochs(study.trials, folds, study.plan.epochs),
        depth_map=cells,
        depth_sentence=sentence,
        kinds=network_kinds(study.trials, ranking),
        pretraining=worth_of_pretraining(ranking),
        linear_probe=linear_probe(ranking),
        finalists=tuple(one.finalist for one in finalists),
        neighbourhood=around,
        safe_ranges=_safe_ranges(recommended, around, finalists),
        importances=None
        if draft
        else importances(study.trials, at_chance, seeds.child(study.identity.seed, "importances")),
        on_images=None if draft else _on_images(study, recommended, ranked, finalists),
    )


def _recommendation(
    study: StudyRecord,
    ranked: Sequence[Candidate],
    finalists: Sequence[ConfirmedFinalist],
    at_chance: float,
    bootstraps: int | None,
) -> Recommendation | None:
    """The confirmed winner; without complete finalists the search's best. None where neither is healthy."""
    complete = [one for one in finalists if one.finalist.complete]
    second = _second_stage(study, complete, ranked) if complete else None
    winner = _winner(study, complete, ranked)
    if winner is None:
        return None
    expected, offset = promise(
        metric=study.identity.metric,
        labels=study.labels,
        groups=study.groups,
        predictions=[one.predictions for one in ranked],
        winner=winner,
        names=tuple(study.data.classes),
        baseline=max([at_chance, *study.baselines.values()]),
        rng=seeds.generator(study.identity.seed, "promise"),
        bootstraps=bootstraps,
        second=second,
    )
    best = ranked[winner]
    return Recommendation(
        ranked=best.ranked,
        promise=expected,
        offset=offset,
        parameters=best.weights,
        finalist=complete[0].finalist if second is not None else None,
    )


def _winner(study: StudyRecord, complete: Sequence[ConfirmedFinalist], ranked: Sequence[Candidate]) -> int | None:
    """Place among the candidates; None where nothing is healthy, or all that was confirmed collapsed too often."""
    if complete:
        return complete[0].place if complete[0].finalist.healthy else None
    plan = study.confirmation
    fallen = {name for name, why in plan.dropped.items() if why == COLLAPSES} if plan is not None else set()
    if plan is not None and fallen >= set(plan.finalists):
        return None
    return next(
        (n for n, one in enumerate(ranked) if one.ranked.healthy and one.ranked.trial.configuration.hash not in fallen),
        None,
    )


def _second_stage(
    study: StudyRecord, complete: Sequence[ConfirmedFinalist], ranked: Sequence[Candidate]
) -> SecondStage | None:
    """The complete finalists, the winner first; None where none is healthy."""
    plan = study.confirmation
    if plan is None or not complete[0].finalist.healthy:
        return None
    sent = {one.trial.configuration.hash for one in shortlist([one.ranked for one in ranked], len(ranked))}
    return SecondStage(
        places=tuple(one.place for one in complete),
        repeats=tuple(one.repeats for one in complete),
        healthy=tuple(one.finalist.healthy for one in complete),
        folds=plan.folds,
        order=tuple(by_size_then_speed([ranked[one.place] for one in complete])),
        entitled=tuple(n for n, one in enumerate(ranked) if one.ranked.trial.configuration.hash in sent),
        shortlist=len(plan.finalists),
    )


def _without_stale(study: StudyRecord, best: Recommendation | None) -> StudyRecord:
    """Drop results about a configuration, or with a decision offset, that is no longer recommended."""
    name = None if best is None else best.ranked.trial.configuration.hash
    test, ablation, sensitivity = study.test, study.ablation, study.sensitivity
    if test is not None and (best is None or (test.configuration, test.offset) != (name, best.offset)):
        test = None
    return replace(
        study,
        test=test,
        ablation=ablation if ablation is not None and ablation.goal == name else None,
        sensitivity=sensitivity if sensitivity is not None and sensitivity.centre == name else None,
    )


def _neighbourhood(study: StudyRecord, best: Recommendation | None, at_chance: float) -> Neighbourhood | None:
    if best is None or study.sensitivity is None:
        return None
    fits = (*counts.unique_fits(study.trials), *study.further)
    return neighbourhood(study.sensitivity, fits, best.ranked, at_chance)


def _safe_ranges(
    best: Recommendation | None, around: Neighbourhood | None, finalists: Sequence[ConfirmedFinalist]
) -> Mapping[str, SafeRange]:
    if best is None:
        return {}
    equal = [one.finalist.trial.configuration for one in finalists if one.finalist.equal]
    return safe_ranges(best.ranked.trial.configuration, around, equal)


def _on_images(
    study: StudyRecord, best: Recommendation | None, ranked: Sequence[Candidate], finalists: Sequence[ConfirmedFinalist]
) -> OnImages | None:
    """Results by image, from the fresh fits where there are any, else from the search's."""
    if best is None:
        return None
    if best.finalist is not None:
        return on_images(study.labels, finalists[0].repeats, best.offset)
    searched = next(one.predictions for one in ranked if one.ranked is best.ranked)
    return on_images(study.labels, [searched], best.offset)


def _control(study: StudyRecord, ranked: Sequence[Candidate], at_chance: float) -> Control | None:
    predictions = [one.predictions for one in ranked]
    rng = seeds.generator(study.identity.seed, "control")
    return label_control(predictions, study.labels, study.baselines, at_chance, rng)


def _reason(study: StudyRecord) -> str:
    judged = any(trial.state in (TrialState.COMPLETE, TrialState.COLLAPSED) for trial in study.trials)
    return NONE_HEALTHY if judged else NONE_JUDGED
