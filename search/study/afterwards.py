"""What follows the search: finalists, the way from the user's configuration, surroundings, pictures, the test.

Each part leaves its findings in the ledger; what stands there is not done again. Each ends in time for the next, and
all of them at once when the user asks for the end.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Final

from search import seeds
from search.data.thumbnails import thumbnails
from search.selection.copies import COUNT, perturbed
from search.selection.results import Results
from search.selection.shortlist import shortlist
from search.selection.tally import unique_fits
from search.study.ablation import ablate
from search.study.clock import LAST_SECONDS
from search.study.confirmation import confirm, confirmed_fits, plan_confirmation
from search.study.final import test_recommendation
from search.study.fitting import Fitter
from search.study.reading import read_study
from search.study.surroundings import explore, seconds_needed
from search.study.workshop import Workshop

FOLDS: Final = 3
"""On which each copy is fitted where the time allows it; else one."""

SHARE_OF_FITS: Final = 0.1
"""Without a time limit: fits of the surroundings, of those that the search has done, that are worth three folds."""


def with_confirmation(results: Results, shop: Workshop) -> Results:
    """Fit the finalists again, unless that is done."""
    best, clock, groups = next((one.trial for one in results.ranking), None), shop.clock, shop.opened.images.groups
    clock.reserve = lambda: shop.reserves.after_confirmation(best)
    known = results.study.confirmation
    plan = plan_confirmation(
        results.ranking,
        shop.terms.labels,
        groups,
        len(shop.terms.folds),
        seconds=clock.phase_left,
        searched=len(unique_fits(results.study.trials)),
        done=confirmed_fits(shop.ledger),
        workers=len(shop.pool),
    )
    if plan is None or clock.phase_over():
        return results
    if known is not None and known.finalists == _sent_on(results)[: len(known.finalists)]:
        if plan.planned <= known.planned and len(plan.finalists) <= len(known.finalists):
            plan = known
        if plan is known and known.repeats == known.planned:
            return results
    confirm(plan, results.ranking, groups, shop.terms, shop.ledger, shop.crew, shop.listener, lambda: clock.phase_left)
    return shop.results(draft=True)


def _sent_on(results: Results) -> tuple[str, ...]:
    """Whom the search would send on now."""
    return tuple(one.trial.configuration.hash for one in shortlist(results.ranking))


def with_ablation(results: Results, shop: Workshop) -> Results:
    """Explain what separates the user's first configuration from the recommended one, unless that is known."""
    best, starts, known, clock = results.recommended, shop.request.starts, results.study.ablation, shop.clock
    if best is None or not starts or clock.asked.is_set():
        return results
    if known is not None and known.start.configuration == starts[0].hash and not known.cut_short:
        return results
    clock.reserve = lambda: shop.reserves.after_ablation(best.ranked.trial)
    found = ablate(
        starts[0],
        best.ranked.trial,
        results.study.trials,
        shop.terms,
        shop.ledger,
        shop.pool,
        shop.listener,
        clock.phase_left,
    )
    shop.ledger.set_fact("ablation", asdict(found))
    return shop.results(draft=True)


def with_surroundings(results: Results, shop: Workshop) -> Results:
    """Try slightly changed copies of the recommendation, unless that is done."""
    best, known, clock = results.recommended, results.study.surroundings, shop.clock
    if best is None or best.finalist is None:
        return results
    trial, terms = best.ranked.trial, shop.terms
    clock.reserve = lambda: shop.reserves.final(trial)
    copies = perturbed(trial.configuration, shop.space, COUNT, seeds.generator(terms.seed, "copies"))
    ours = known if known is not None and known.centre == trial.configuration.hash else None
    if clock.phase_over() or (ours is not None and len(ours.copies) == len(copies)):
        return results
    left, trials = clock.phase_left, results.study.trials
    if left is None:
        is_time = FOLDS * len(copies) <= SHARE_OF_FITS * len(unique_fits(trials))
    else:
        is_time = seconds_needed(trial, len(copies), len(shop.pool), FOLDS) <= left
    folds = max(ours.folds if ours is not None else 1, FOLDS if is_time else 1)
    found = explore(trial, copies, terms, shop.ledger, shop.crew, shop.listener, trials, left, folds)
    shop.ledger.set_fact("surroundings", asdict(found))
    return shop.results(draft=True)


def with_test(results: Results, shop: Workshop) -> Results:
    """Score the recommendation on the test images, unless that stands in the ledger or time is up."""
    best, images, clock = results.recommended, shop.opened.test, shop.clock
    if best is None or images is None:
        return results
    known = results.study.test
    if known is not None and known.fingerprint == images.summary.fingerprint:
        return results
    test = None
    clock.reserve = lambda: LAST_SECONDS
    if not clock.phase_over():
        shop.listener.stage("Training the recommendation on all images")
        test = test_recommendation(best, images, Fitter(shop.terms, shop.ledger), shop.pool)
    shop.ledger.set_fact("test", None if test is None else asdict(test))
    fits = read_study(shop.ledger, shop.opened.study).further
    return replace(results, study=replace(results.study, test=test, further=fits))


def with_thumbnails(results: Results, shop: Workshop) -> Results:
    """Keep small pictures of the images that the report shows, so that it can be made again without them."""
    if results.on_images is None:
        return results
    rows = {mistake.row for mistake in results.on_images.mistakes}
    rows |= {suspect.row for suspect in results.on_images.suspects}
    if rows <= results.study.thumbnails.keys():
        return results
    images = shop.opened.images
    found = thumbnails(
        rows,
        folder=shop.request.data,
        files=images.files,
        pixels=images.pixels(),
        on_progress=shop.listener.progress,
    )
    shop.ledger.set_fact("thumbnails", found)
    kept = read_study(shop.ledger, shop.opened.study).thumbnails
    return replace(results, study=replace(results.study, thumbnails=kept))


def complete(results: Results, shop: Workshop) -> Results:
    """All that follows the search, in order: what comes later explains, shows and tests the confirmed recommendation.

    The promise is worked out once, at the end: with many images it takes its seconds.
    """
    for part in (with_confirmation, with_ablation, with_surroundings):
        results = part(results, shop)
    return with_test(with_thumbnails(shop.results(), shop), shop)
