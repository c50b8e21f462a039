from dataclasses import replace

from search.collapse.protection import Protection
from search.records import CONFIRM, Verdict
from search.study.fitting import Fitter, Spec
from search.study.ledger import Ledger
from search.study.worker import Done, Job
from tests.factories import configuration
from tests.search.study.made import FakeWorker, memory, outcome

CALM = Protection(calibrating=False)


class Corrupting(FakeWorker):
    """A worker that also scores copies, if asked to."""

    def run(self, job: Job, on_check: object = None, *, alone: bool = False) -> Done:
        done = super().run(job)
        learned = done.outcome.verdict is Verdict.LEARNED
        return Done(done.outcome, None, {"noise/1": 0.5} if job.corrupt and learned else {})


def test_scores_of_corrupted_copies_come_with_the_fit_and_change_nothing_else(terms) -> None:
    fold, worker = terms.folds[0], Corrupting(outcome)
    spec = Spec(trial=3, stage=CONFIRM, configuration=configuration(), train=fold.train, val=fold.val)
    plain = Fitter(terms, Ledger(memory(), "study")).fit(worker, spec, CALM)
    ledger = Ledger(memory(), "study")
    fit = Fitter(terms, ledger).fit(worker, replace(spec, corrupt=True), CALM)
    assert [job.corrupt for job in worker.jobs] == [False, True]
    assert (plain.corrupted, fit.corrupted) == ({}, {"noise/1": 0.5})
    assert repr(replace(fit, corrupted={})) == repr(plain)
    assert ledger.fit(plain.key).corrupted == {"noise/1": 0.5}


def test_a_fit_that_stands_in_the_ledger_is_not_done_again_for_the_copies(terms) -> None:
    fold, worker = terms.folds[0], Corrupting(outcome)
    spec = Spec(trial=3, stage=CONFIRM, configuration=configuration(), train=fold.train, val=fold.val)
    fitter = Fitter(terms, Ledger(memory(), "study"))
    known = fitter.fit(worker, spec, CALM)
    assert fitter.fit(worker, replace(spec, corrupt=True), CALM).key == known.key
    assert len(worker.jobs) == 1
