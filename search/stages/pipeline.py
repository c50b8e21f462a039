"""The pipeline of stages after the search: confirmation, ablation, sensitivity, pictures, the test.

Each stage records its findings in the ledger, and does not do again what is recorded there. Each ends in time for the
next one, and all of them end as soon as the user asks to stop.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, replace
from typing import Final

from search import seeds
from search.data.images import ImageSet
from search.data.thumbnails import thumbnails
from search.fits.context import Context
from search.fits.runner import FitRunner
from search.records import Confirmation, TestScore
from search.schedule.budget import LAST_SECONDS
from search.selection.counts import unique_fits
from search.selection.perturbations import COUNT, perturbed
from search.selection.results import Results
from search.selection.shortlist import shortlist
from search.stages.ablate import ablate
from search.stages.confirm import confirm
from search.stages.confirmation_plan import confirmed_fits, plan_confirmation
from search.stages.final_fit import test_recommendation
from search.stages.sensitivity import fit_variants, seconds_needed
from search.storage.load import (
    read_further,
    read_thumbnails,
    restored_ablation,
    restored_confirmation,
    restored_sensitivity,
    restored_test,
    stored_sensitivity,
)
from search.workers.errors import Stopped
from search.workers.interfaces import Worker
from spaces.config import Configuration

FOLDS: Final = 3
"""First folds on which each variant is fitted where time allows; else one."""

SHARE_OF_FITS: Final = 0.1
"""Fits of the variants on three folds without a time limit, at most as a share of the search's; else on one fold."""


def with_confirmation(results: Results, context: Context) -> Results:
    """Fit the finalists again on fresh splits, unless that is done."""
    best, clock = next((ranked.trial for ranked in results.ranking), None), context.clock
    clock.reserve = lambda: context.reserves.after_confirmation(best)
    while (plan := _plan(results, context)) is not None:
        confirmation = confirm(
            plan,
            results.ranking,
            context.opened.images.groups,
            context.setup,
            context.ledger,
            context.executor,
            context.listener,
            lambda: clock.phase_left,
        )
        results = context.results(results, draft=True)
        by_another = context.opened.is_shared and clock.phase_left is not None  # perhaps, with less time
        if not by_another or confirmation.repeats < confirmation.planned:
            break
    return results


def _plan(results: Results, context: Context) -> Confirmation | None:
    """The confirmation to do next; where hosts share a study, the one that the first of them planned. None: no more."""
    known, clock = results.study.confirmation, context.clock
    plan = plan_confirmation(
        results.ranking,
        context.setup.labels,
        context.opened.images.groups,
        len(context.setup.folds),
        seconds=clock.phase_left,
        searched=len(unique_fits(results.study.trials)),
        done=confirmed_fits(context.ledger),
        workers=context.executor.workers,
    )
    if plan is None or clock.phase_over():
        return None
    finalists, after = _finalists(results), "nothing"
    if known is not None and known.finalists == finalists[: len(known.finalists)]:
        is_done, is_more = known.repeats == known.planned, not is_within(plan, known)
        if not is_more or (context.opened.is_shared and not is_done):
            return None if is_done else known
        after = f"{len(known.finalists)} x {known.planned}"
    if not context.opened.is_shared:
        return plan
    name = f"plan {hashlib.sha256(' '.join(finalists).encode()).hexdigest()[:16]} after {after}"
    return restored_confirmation(context.ledger.settle_fact(name, asdict(plan)))


def is_within(plan: Confirmation, other: Confirmation) -> bool:
    """Whether `other` fits at least as many finalists, as often, as `plan` does; both are of the same search."""
    return plan.planned <= other.planned and len(plan.finalists) <= len(other.finalists)


def _finalists(results: Results) -> tuple[str, ...]:
    """Hashes of the configurations that would be finalists now."""
    return tuple(ranked.trial.configuration.hash for ranked in shortlist(results.ranking))


def with_ablation(results: Results, context: Context) -> Results:
    """Measure the changes from the user's first configuration to the recommended one, unless that is done."""
    best, starts, clock = results.recommended, context.request.starts, context.clock
    if best is None or not starts or clock.stop_requested.is_set():
        return results
    trial = best.ranked.trial

    def is_done() -> bool:
        known = restored_ablation(context.ledger.fact("ablation"))
        ends = starts[0].hash, trial.configuration.hash
        return known is not None and not known.cut_short and (known.start.configuration, known.goal) == ends

    def follow(worker: Worker, start: Configuration) -> None:
        if not is_done():
            ablation = ablate(
                start,
                trial,
                results.study.trials,
                context.setup,
                context.ledger,
                worker,
                context.listener,
                clock.phase_left,
            )
            context.ledger.set_fact("ablation", asdict(ablation))

    clock.reserve = lambda: context.reserves.after_ablation(trial)
    if is_done():
        return results
    with contextlib.suppress(Stopped):  # another host's was cut off
        context.executor.run(f"from {starts[0].hash} to {trial.configuration.hash}", starts[:1], follow)
    return context.results(results, draft=True)


def with_sensitivity(results: Results, context: Context) -> Results:
    """Fit slightly changed variants of the recommended configuration, unless that is done."""
    best, known, clock = results.recommended, results.study.sensitivity, context.clock
    if best is None or best.finalist is None:
        return results
    trial, setup = best.ranked.trial, context.setup
    clock.reserve = lambda: context.reserves.for_final_fit(trial)
    variants = perturbed(trial.configuration, context.design.space, COUNT, seeds.generator(setup.seed, "copies"))
    ours = known if known is not None and known.centre == trial.configuration.hash else None
    if clock.phase_over() or (ours is not None and len(ours.variants) == len(variants)):
        return results
    left, trials = clock.phase_left, results.study.trials
    if left is None:
        is_time = FOLDS * len(variants) <= SHARE_OF_FITS * len(unique_fits(trials))
    else:
        is_time = seconds_needed(trial, len(variants), context.executor.workers, FOLDS) <= left
    folds = max(ours.folds if ours is not None else 1, FOLDS if is_time else 1)
    if context.opened.is_shared:
        folds = context.ledger.settle_fact(f"folds of copies {trial.configuration.hash}", folds)
    new = fit_variants(trial, variants, setup, context.ledger, context.executor, context.listener, trials, left, folds)
    now = restored_sensitivity(context.ledger.fact("surroundings"))  # another host may have had more time
    if now is None or now.centre != new.centre or (now.folds, len(now.variants)) <= (new.folds, len(new.variants)):
        context.ledger.set_fact("surroundings", stored_sensitivity(new))
    return context.results(results, draft=True)


def with_test(results: Results, context: Context) -> Results:
    """Train the recommendation on all images and score it on the test images, unless that is done or time is up."""
    best, images, clock = results.recommended, context.opened.test, context.clock
    if best is None or images is None:
        return results
    wanted = (best.ranked.trial.configuration.hash, images.summary.fingerprint, best.offset)

    def known() -> TestScore | None:
        test = restored_test(context.ledger.fact("test"))
        is_current = test is not None and (test.configuration, test.fingerprint, test.offset) == wanted
        return test if is_current else None

    def score(worker: Worker, images: ImageSet) -> None:
        if known() is None:
            test = test_recommendation(best, images, FitRunner(context.setup, context.ledger), worker)
            if test is not None:
                context.ledger.set_fact("test", asdict(test))

    clock.reserve = lambda: LAST_SECONDS
    if known() is None and not clock.phase_over():
        context.listener.stage("Training the recommendation on all images")
        with contextlib.suppress(Stopped):  # another host's was cut off
            context.executor.run(f"test {wanted}", [images], score)
    return replace(results, study=replace(results.study, test=known(), further=read_further(context.ledger)))


def with_thumbnails(results: Results, context: Context) -> Results:
    """Record small pictures of the images that the report shows, so that it can be made again without the images."""
    if results.on_images is None:
        return results
    rows = {mistake.row for mistake in results.on_images.mistakes}
    rows |= {suspect.row for suspect in results.on_images.suspects}
    if rows <= results.study.thumbnails.keys():
        return results
    images = context.opened.images
    pictures = thumbnails(
        rows,
        folder=context.request.data,
        files=images.files,
        pixels=images.squares(),
        on_progress=context.listener.progress,
    )
    context.ledger.set_fact("thumbnails", pictures)
    return replace(results, study=replace(results.study, thumbnails=read_thumbnails(context.ledger)))


def run_stages(results: Results, context: Context) -> Results:
    """Run all stages after the search, in order: later ones explain, show and test the confirmed recommendation.

    The promise is computed once, before the pictures: with many images it takes some seconds.
    """
    for stage in (with_confirmation, with_ablation, with_sensitivity):
        results = stage(results, context)
    return with_test(with_thumbnails(context.results(results), context), context)
