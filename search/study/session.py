"""A session: from a request to the results, through every room of the house."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Final

import optuna

from search.errors import DamagedError, UserError
from search.events import Listener, Silent
from search.records import Trial
from search.selection.analyse import analyse
from search.selection.results import Results
from search.selection.spread import pooled_deviation, standard_error
from search.settings import Identity, Plan
from search.study import machine, preparation, queue
from search.study.ablation import ablate, seconds_needed
from search.study.clock import Clock
from search.study.final import test_recommendation
from search.study.fitting import Fitter, Terms
from search.study.history import History
from search.study.identity import refuse_other
from search.study.ledger import Ledger
from search.study.objective import Interrupted, Objective, TooManyFailures, TrialFailed
from search.study.pool import Pool, Stopped, WorkerFault, setups
from search.study.progress import no_more_progress
from search.study.reading import read_study, read_trials
from search.study.request import Request, bound, check_request, identity, refuse_tangled, starts
from search.study.sampler import SteadySampler
from search.study.storage import holds_study, locked, open_storage
from search.study.worker import Setup

__all__ = ["Broken", "Ended", "Request", "search"]

SCHEMA = 1
"""Of the facts and the ledger; a study of another one is refused."""

_ABLATION_SHARE: Final = 0.1  # of the time, at most: for the way from the user's configuration to the recommended one

_log = logging.getLogger(__name__)

MakePool = Callable[[list[Setup], Callable[[], bool]], Pool]


class Ended(Exception):
    """The user ended the start before there was anything to report."""


class Broken(Exception):
    """The search could not go on because of a bug or a broken machine; what it left stands in `results`."""

    def __init__(self, reason: str, results: Results) -> None:
        super().__init__(reason)
        self.results = results


def search(request: Request, listener: Listener, clock: Clock, make_pool: MakePool = Pool) -> Results:
    """Run or go on with the study in `request.out` until its budget is used up or the clock is told to end.

    Args:
        request: what to search.
        listener: told how it goes.
        clock: says when to end.
        make_pool: makes the workers, from what each is told and from who says that a fit must stop.

    Raises:
        UserError: the user can mend it; nothing that was there is lost.
        Ended: the user ended it while the images were being read.
        Broken: trials failed one after the other; carries the results.
    """
    refuse_tangled(request)
    with locked(request.out, request.storage):
        return _Session(request, listener, clock, make_pool).run()


class _Session:
    """The steps of a session, in order; each sets what the later ones use."""

    def __init__(self, request: Request, listener: Listener, clock: Clock, make_pool: MakePool) -> None:
        self.request, self.listener, self.clock, self.make_pool = request, listener, clock, make_pool
        self.must_stop: Callable[[], bool] = clock.search_over
        self.searching = True  # and not yet at what comes after it
        self.gpus = machine.gpus()

    def run(self) -> Results:
        self._open_and_load()
        self.pool = self._pool()
        terms: Terms | None = None
        broken: TooManyFailures | None = None
        try:
            try:
                terms = self._prepare()
                self._run_trials(terms)
            except Stopped:  # before the first trial
                if preparation.kept_plan(self.ledger) is None:
                    if self.clock.asked.is_set():
                        raise Ended from None
                    preparation.without_time(self.request, self.images, self.ledger)
            except TooManyFailures as error:
                broken = error
                _log.error("%s", error)
            self.listener.stage("Ranking")
            results = analyse(read_study(self.ledger, self.study))
            if terms is not None and broken is None:
                self.searching = False
                results = self._with_test(self._with_ablation(results, terms), terms)
        finally:
            self.pool.close()
            self.ledger.set_fact("seconds", self.clock.seconds)
        results = replace(results, study=replace(results.study, seconds=self.clock.seconds))
        if broken is not None:
            raise Broken(str(broken), results) from broken
        return results

    def _open_and_load(self) -> None:
        """Write nothing before all is known to be good; say what is wrong with a study before images are read."""
        request = self.request
        going_on = holds_study(request.out, request.storage)
        if going_on:
            self._open()
        stored = self.ledger.fact("identity") if going_on else None
        size = request.image_size or (stored["image_size"] if stored else None)
        listener = _Attentive(self.listener, self.clock)
        self.images, self.test = preparation.load(request, size, bool(self.gpus), listener)
        self.listener.data(self.images.summary)
        check_request(request, self.images)
        if not going_on:
            self._open()
        asked = identity(request, self.images)
        untried = not self.study.get_trials(deepcopy=False)
        if untried and request.storage is None:  # nothing can be mixed up
            self.ledger.forget_facts()
        stored = self.ledger.fact("identity")
        if stored is not None:
            refuse_other(Identity(**stored), asked, request.out)
        self.ledger.set_fact("schema", SCHEMA)
        self.ledger.set_fact("identity", asdict(asked))
        preparation.describe(self.ledger, request, self.images)
        self.clock.resume(self.ledger.fact("seconds") or 0.0)

    def _open(self) -> None:
        request = self.request
        self.storage = open_storage(request.out, request.storage)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=request.study,
            load_if_exists=True,
            direction="maximize",
            sampler=SteadySampler(request.seed),
            pruner=optuna.pruners.NopPruner(),
        )
        self.ledger = Ledger(self.storage.engine, request.study)
        schema = self.ledger.fact("schema")
        if schema not in (None, SCHEMA):
            raise DamagedError(
                f"the study in {request.out} was made by another version (schema {schema}, here {SCHEMA}). "
                "Go on with that version, or pass another --out."
            )

    def _pool(self) -> Pool:
        request = self.request
        told = setups(self.images, request.metric, request.out, request.workers, self.gpus)
        return self.make_pool(told, lambda: self.must_stop())

    def _prepare(self) -> Terms:
        """Workers and what all fits share."""
        used_up = preparation.kept_plan(self.ledger) is not None and self._is_used_up()
        if not used_up:  # TensorFlow takes its seconds to start
            self._start_workers()
        return preparation.make_terms(
            self.request,
            self.images,
            self.ledger,
            self.pool,
            self.listener,
            precision=machine.precision(self.gpus[0] if self.gpus else None),
            seconds=None if self.clock.left is None else self.clock.left - self._set_aside(None),
            test=self.test is not None,
            used_up=used_up,
        )

    def _is_used_up(self) -> bool:
        """Whether the trials asked for are done."""
        trials = self.request.budget.trials
        return trials is not None and queue.finished(self.study) >= trials

    def _start_workers(self) -> None:
        self.listener.stage("Starting TensorFlow in its own process")
        self._start()
        ready = self.pool.ready
        if ready is not None and self.gpus and not ready.on_gpu:
            _log.warning(
                "This machine has an NVIDIA GPU (%s) that TensorFlow does not see; the search runs on the CPU. "
                "To use it: pip install 'steadynet[gpu]' (from a checkout: pip install -e '.[gpu]').",
                self.gpus[0].name,
            )
            self.gpus = ()
            self.pool.close()
            self.pool = self._pool()
            self._start()
        if (ready := self.pool.ready) is not None:
            self.ledger.set_fact("device", ready.device)
            self.ledger.set_fact("versions", {**self.ledger.fact("versions"), **ready.versions})

    def _start(self) -> None:
        try:
            with self.pool.worker() as worker:
                worker.start()
        except WorkerFault as error:
            log = self.request.out / "worker.log"
            raise UserError(f"TensorFlow does not start: {str(error).strip().splitlines()[-1]}. See {log}.") from None

    def _run_trials(self, terms: Terms) -> None:
        budget = self.request.budget
        space = bound(self.request, min(len(fold.train) for fold in terms.folds), terms.protocol.epochs)
        order = queue.Queue(self.study, self.storage, space, starts(self.request, space))
        again = order.resume()
        if again:
            _log.info("Going on with %d interrupted trial(s).", again)
        history = History(terms, read_trials(self.ledger, self.study))
        self.clock.reserve = lambda: self._reserve(history, terms.plan)
        done = queue.finished(self.study)
        shown = terms.plan
        if budget.until_no_progress:
            shown = replace(shown, notes=(*shown.notes, "It also ends when further trials bring no more progress."))
        self.listener.planned(shown, budget.trials, self.clock.left, done)
        if self._is_used_up() or self._no_progress(history) or self.clock.search_over():
            return
        order.refill(len(self.pool))

        def after_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            if self.clock.search_over():
                study.stop()
                return
            order.refill(len(self.pool))
            if self._no_progress(history):
                _log.info("Further trials bring nothing: the search ends before its budget.")
                study.stop()

        self.listener.stage("Searching")
        objective = Objective(
            terms, space, self.ledger, self.pool, order, history, self.listener, on_recorded=self._note_time
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Fixed parameter", category=UserWarning)
            self.study.optimize(
                objective,
                n_trials=None if budget.trials is None else budget.trials - done,
                n_jobs=len(self.pool),
                catch=(Interrupted, TrialFailed),
                callbacks=[after_trial],
            )

    def _note_time(self) -> None:
        self.ledger.set_fact("seconds", self.clock.seconds)

    def _no_progress(self, history: History) -> bool:
        if not self.request.budget.until_no_progress:
            return False
        deviation = pooled_deviation(history.fold_scores())
        folds = len(next(iter(history.fold_scores()), ()))
        error = None if deviation is None else standard_error(deviation, folds, folds)
        return no_more_progress(history.best_so_far, error)

    def _reserve(self, history: History, plan: Plan) -> float:
        """Seconds to keep for the end: a final training of the best so far, the test, the report."""
        best = history.best_trial()
        aside = self._set_aside(best)
        if best is None or self.test is None:
            return plan.final_seconds + aside
        fit = max(fit.seconds for fit in best.fits) * plan.folds / (plan.folds - 1)
        ready = self.pool.ready
        restart = ready.seconds if ready is not None else 0.0  # a worker that would not stop is killed
        return max(plan.final_seconds, 10.0 + restart + 1.3 * fit) + aside

    def _set_aside(self, best: Trial | None) -> float:
        """Seconds that the search leaves for the way from the user's configuration to the best so far."""
        limit, starts = self.request.budget.seconds, self.request.starts
        if limit is None or not starts or not self.searching:
            return 0.0
        most = _ABLATION_SHARE * limit
        return most if best is None else min(most, seconds_needed(starts[0], best))

    def _with_ablation(self, results: Results, terms: Terms) -> Results:
        """Explain what separates the user's first configuration from the recommended one, unless that is known."""
        best, starts, known = results.recommended, self.request.starts, results.study.ablation
        if best is None or not starts or self.clock.asked.is_set():
            return results
        if known is not None and known.start.configuration == starts[0].hash and not known.cut_short:
            return results
        left = None if self.clock.left is None else self.clock.left - self.clock.reserve()
        trials = results.study.trials
        found = ablate(starts[0], best.ranked.trial, trials, terms, self.ledger, self.pool, self.listener, left)
        self.ledger.set_fact("ablation", asdict(found))
        return analyse(read_study(self.ledger, self.study))

    def _with_test(self, results: Results, terms: Terms) -> Results:
        """Score the recommendation on the test images, unless that stands in the ledger or time is up."""
        best = results.recommended
        if best is None or self.test is None:
            return results
        known = results.study.test
        if known is not None and known.fingerprint == self.test.summary.fingerprint:
            return results
        test = None
        if not self.clock.over():
            self.listener.stage("Training the recommendation on all images")
            self.must_stop = self.clock.over
            test = test_recommendation(best, self.test, Fitter(terms, self.ledger), self.pool)
        self.ledger.set_fact("test", None if test is None else asdict(test))
        return analyse(read_study(self.ledger, self.study))


class _Attentive(Silent):
    """Passes on how far the reading of images is, and ends it when the user asks for the end."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self._listener, self._clock = listener, clock

    def stage(self, text: str) -> None:
        self._listener.stage(text)

    def progress(self, what: str, done: int, total: int) -> None:
        if self._clock.asked.is_set():
            raise Ended
        self._listener.progress(what, done, total)
