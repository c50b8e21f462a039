"""What follows the search: finalists, the way from the user's configuration, surroundings, pictures, the test.

Each part leaves its findings in the ledger; what stands there is not done again. Each ends in time for the next, and
all of them at once when the user asks for the end.
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
from search.stages.confirm import confirm, confirmed_fits, plan_confirmation
from search.stages.final_fit import test_recommendation
from search.stages.sensitivity import fit_copies, seconds_needed
from search.storage.load import (
    read_further,
    read_thumbnails,
    restored_ablation,
    restored_confirmation,
    restored_surroundings,
    restored_test,
)
from search.workers.errors import Stopped
from search.workers.interfaces import Worker
from spaces.config import Configuration

FOLDS: Final = 3
"""On which each copy is fitted where the time allows it; else one."""

SHARE_OF_FITS: Final = 0.1
"""Without a time limit: fits of the surroundings, of those that the search has done, that are worth three folds."""


def with_confirmation(results: Results, context: Context) -> Results:
    """Fit the finalists again, unless that is done."""
    best, clock, groups = (
        next((one.trial for one in results.ranking), None),
        context.clock,
        context.opened.images.groups,
    )
    clock.reserve = lambda: context.reserves.after_confirmation(best)
    while (plan := _plan(results, context)) is not None:
        found = confirm(
            plan,
            results.ranking,
            groups,
            context.terms,
            context.ledger,
            context.executor,
            context.listener,
            lambda: clock.phase_left,
        )
        results = context.results(results, draft=True)
        is_theirs = context.opened.is_shared and clock.phase_left is not None  # perhaps: of a host with less time
        if not is_theirs or found.repeats < found.planned:
            break
    return results


def _plan(results: Results, context: Context) -> Confirmation | None:
    """Whom to fit how often; where hosts share a study, what the first of them plans. None: nothing is left to do."""
    known, clock = results.study.confirmation, context.clock
    plan = plan_confirmation(
        results.ranking,
        context.terms.labels,
        context.opened.images.groups,
        len(context.terms.folds),
        seconds=clock.phase_left,
        searched=len(unique_fits(results.study.trials)),
        done=confirmed_fits(context.ledger),
        workers=context.executor.workers,
    )
    if plan is None or clock.phase_over():
        return None
    sent_on, after = _sent_on(results), "nothing"
    if known is not None and known.finalists == sent_on[: len(known.finalists)]:
        is_done, is_more = known.repeats == known.planned, not is_within(plan, known)
        if not is_more or (context.opened.is_shared and not is_done):
            return None if is_done else known
        after = f"{len(known.finalists)} x {known.planned}"
    if not context.opened.is_shared:
        return plan
    name = f"plan {hashlib.sha256(' '.join(sent_on).encode()).hexdigest()[:16]} after {after}"
    return restored_confirmation(context.ledger.settle_fact(name, asdict(plan)))


def is_within(plan: Confirmation, other: Confirmation) -> bool:
    """Whether the other brings all that this one does, given the same search."""
    return plan.planned <= other.planned and len(plan.finalists) <= len(other.finalists)


def _sent_on(results: Results) -> tuple[str, ...]:
    """Whom the search would send on now."""
    return tuple(one.trial.configuration.hash for one in shortlist(results.ranking))


def with_ablation(results: Results, context: Context) -> Results:
    """Explain what separates the user's first configuration from the recommended one, unless that is known."""
    best, starts, clock = results.recommended, context.request.starts, context.clock
    if best is None or not starts or clock.stop_requested.is_set():
        return results
    trial = best.ranked.trial

    def is_known() -> bool:
        known = restored_ablation(context.ledger.fact("ablation"))
        return (
            known is not None
            and not known.cut_short
            and (known.start.configuration, known.goal)
            == (
                starts[0].hash,
                trial.configuration.hash,
            )
        )

    def follow(worker: Worker, start: Configuration) -> None:
        if not is_known():
            found = ablate(
                start,
                trial,
                results.study.trials,
                context.terms,
                context.ledger,
                worker,
                context.listener,
                clock.phase_left,
            )
            context.ledger.set_fact("ablation", asdict(found))

    clock.reserve = lambda: context.reserves.after_ablation(trial)
    if is_known():
        return results
    with contextlib.suppress(Stopped):  # another host's was cut off
        context.executor.run(f"from {starts[0].hash} to {trial.configuration.hash}", starts[:1], follow)
    return context.results(results, draft=True)


def with_surroundings(results: Results, context: Context) -> Results:
    """Try slightly changed copies of the recommendation, unless that is done."""
    best, known, clock = results.recommended, results.study.surroundings, context.clock
    if best is None or best.finalist is None:
        return results
    trial, terms = best.ranked.trial, context.terms
    clock.reserve = lambda: context.reserves.for_final_fit(trial)
    copies = perturbed(trial.configuration, context.design.space, COUNT, seeds.generator(terms.seed, "copies"))
    ours = known if known is not None and known.centre == trial.configuration.hash else None
    if clock.phase_over() or (ours is not None and len(ours.copies) == len(copies)):
        return results
    left, trials = clock.phase_left, results.study.trials
    if left is None:
        is_time = FOLDS * len(copies) <= SHARE_OF_FITS * len(unique_fits(trials))
    else:
        is_time = seconds_needed(trial, len(copies), context.executor.workers, FOLDS) <= left
    folds = max(ours.folds if ours is not None else 1, FOLDS if is_time else 1)
    if context.opened.is_shared:
        folds = context.ledger.settle_fact(f"folds of copies {trial.configuration.hash}", folds)
    found = fit_copies(trial, copies, terms, context.ledger, context.executor, context.listener, trials, left, folds)
    now = restored_surroundings(context.ledger.fact("surroundings"))  # another host may have had more time
    if now is None or now.centre != found.centre or (now.folds, len(now.copies)) <= (found.folds, len(found.copies)):
        context.ledger.set_fact("surroundings", asdict(found))
    return context.results(results, draft=True)


def with_test(results: Results, context: Context) -> Results:
    """Score the recommendation on the test images, unless that stands in the ledger or time is up."""
    best, images, clock = results.recommended, context.opened.test, context.clock
    if best is None or images is None:
        return results
    wanted = (best.ranked.trial.configuration.hash, images.summary.fingerprint, best.offset)

    def known() -> TestScore | None:
        test = restored_test(context.ledger.fact("test"))
        found = test is not None and (test.configuration, test.fingerprint, test.offset) == wanted
        return test if found else None

    def score(worker: Worker, images: ImageSet) -> None:
        if known() is None:
            test = test_recommendation(best, images, FitRunner(context.terms, context.ledger), worker)
            if test is not None:
                context.ledger.set_fact("test", asdict(test))

    clock.reserve = lambda: LAST_SECONDS
    if known() is None and not clock.phase_over():
        context.listener.stage("Training the recommendation on all images")
        with contextlib.suppress(Stopped):  # another host's was cut off
            context.executor.run(f"test {wanted}", [images], score)
    return replace(results, study=replace(results.study, test=known(), further=read_further(context.ledger)))


def with_thumbnails(results: Results, context: Context) -> Results:
    """Keep small pictures of the images that the report shows, so that it can be made again without them."""
    if results.on_images is None:
        return results
    rows = {mistake.row for mistake in results.on_images.mistakes}
    rows |= {suspect.row for suspect in results.on_images.suspects}
    if rows <= results.study.thumbnails.keys():
        return results
    images = context.opened.images
    found = thumbnails(
        rows,
        folder=context.request.data,
        files=images.files,
        pixels=images.squares(),
        on_progress=context.listener.progress,
    )
    context.ledger.set_fact("thumbnails", found)
    return replace(results, study=replace(results.study, thumbnails=read_thumbnails(context.ledger)))


def run_stages(results: Results, context: Context) -> Results:
    """All that follows the search, in order: what comes later explains, shows and tests the confirmed recommendation.

    The promise is worked out once, at the end: with many images it takes its seconds.
    """
    for part in (with_confirmation, with_ablation, with_surroundings):
        results = part(results, context)
    return with_test(with_thumbnails(context.results(results), context), context)
