from dataclasses import replace

from search.collapse.protection import Protection
from search.fits.runner import FitRunner
from search.records import CONFIRM, CUT_BY_RUNG, SEARCH, Fit, FitOutcome, Verdict
from search.storage.ledger import Ledger
from search.training.job import FitJob, FitSpec
from tests.factories import configuration
from tests.stand_ins import FakeWorker, memory, outcome

CALM = Protection(calibrating=False)


class Corrupting(FakeWorker):
    """A worker that also scores copies, if asked to."""

    def run(self, job: FitJob, on_check: object = None, *, alone: bool = False) -> FitOutcome:
        outcome = super().run(job)
        learned = outcome.verdict is Verdict.LEARNED
        return replace(outcome, corrupted={"noise/1": 0.5}) if job.corrupt and learned else outcome


def test_scores_of_corrupted_copies_come_with_the_fit_and_change_nothing_else(setup) -> None:
    fold, worker = setup.folds[0], Corrupting(outcome)
    spec = FitSpec(trial=3, stage=CONFIRM, configuration=configuration(), train=fold.train, val=fold.val)
    plain = FitRunner(setup, Ledger(memory(), "study")).fit(worker, spec, CALM)
    ledger = Ledger(memory(), "study")
    fit = FitRunner(setup, ledger).fit(worker, replace(spec, corrupt=True), CALM)
    assert [job.corrupt for job in worker.jobs] == [False, True]
    assert (plain.corrupted, fit.corrupted) == ({}, {"noise/1": 0.5})
    assert repr(replace(fit, corrupted={})) == repr(plain)
    assert ledger.fit(plain.key).corrupted == {"noise/1": 0.5}


def test_a_fit_that_stands_in_the_ledger_is_not_done_again_for_the_copies(setup) -> None:
    fold, worker = setup.folds[0], Corrupting(outcome)
    spec = FitSpec(trial=3, stage=CONFIRM, configuration=configuration(), train=fold.train, val=fold.val)
    fitter = FitRunner(setup, Ledger(memory(), "study"))
    known = fitter.fit(worker, spec, CALM)
    assert fitter.fit(worker, replace(spec, corrupt=True), CALM).key == known.key
    assert len(worker.jobs) == 1


def test_a_fit_that_a_rung_cut_is_enough_for_a_race_and_done_whole_where_a_whole_one_is_wanted(setup) -> None:
    fold = setup.folds[0]
    spec = FitSpec(
        trial=3, stage=SEARCH, configuration=configuration(), train=fold.train, val=fold.val, bars=((9, 0.4),)
    )

    def cut_if_told(job: FitJob) -> FitOutcome:
        return outcome(job, Verdict.STOPPED, CUT_BY_RUNG, epochs=9) if job.bars else outcome(job)

    worker, ledger = FakeWorker(cut_if_told), Ledger(memory(), "study")
    fitter = FitRunner(setup, ledger)
    cut = fitter.fit(worker, spec, CALM)
    assert (cut.verdict, cut.reason, cut.epochs) == (Verdict.STOPPED, CUT_BY_RUNG, 9)
    assert fitter.fit(worker, spec, CALM).reason == CUT_BY_RUNG
    assert len(worker.jobs) == 1
    whole = fitter.fit(worker, replace(spec, bars=()), CALM)
    assert (whole.verdict, whole.key) == (Verdict.LEARNED, cut.key)
    assert [fit.verdict for fit in ledger.fits()] == [Verdict.LEARNED]
    assert fitter.fit(worker, spec, CALM).verdict is Verdict.LEARNED
    assert len(worker.jobs) == 2


def test_a_fold_has_a_second_fit_after_a_soft_collapse_only(setup) -> None:
    fold = setup.folds[0]
    spec = FitSpec(trial=3, stage=SEARCH, configuration=configuration(), train=fold.train, val=fold.val)
    ends = {None: 1, "no-progress": 2, "dead-layer": 1}
    for reason, fits in ends.items():
        verdict = Verdict.LEARNED if reason is None else Verdict.COLLAPSED
        worker = FakeWorker(lambda job, verdict=verdict, reason=reason: outcome(job, verdict, reason))  # type: ignore[misc]
        seen: list[Fit] = []
        done = FitRunner(setup, Ledger(memory(), "study")).fold(worker, spec, CALM, on_fit=seen.append)
        assert [fit.attempt for fit in done] == list(range(fits))
        assert seen == done
        assert len({fit.seed for fit in done}) == fits
