"""A session: from a request to the results, through every room of the house."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna

from search.data.folds import Fold, fold_warnings, make_folds
from search.data.groups import groups_hash
from search.data.images import ImageSet, load_images
from search.errors import UserError
from search.events import Listener
from search.selection import metrics
from search.selection.analyse import analyse
from search.selection.baselines import baselines
from search.selection.results import Results
from search.selection.spread import pooled_deviation, standard_error
from search.settings import Budget, Identity, Metric, Plan, Protocol
from search.study import machine, queue
from search.study.clock import Clock
from search.study.final import test_recommendation
from search.study.identity import refuse_other
from search.study.ledger import Ledger
from search.study.objective import History, Interrupted, Objective, Terms, TrialFailed
from search.study.plan import auto_epochs, make_plan
from search.study.pool import Pool
from search.study.progress import no_more_progress
from search.study.reading import read_study, read_trials
from search.study.sampler import SteadySampler
from search.study.storage import holds_study, locked, open_storage
from search.study.worker import Pricing, Setup
from spaces.config import Configuration
from spaces.definitions import SpaceError
from spaces.presets import known_good
from spaces.space import Space

_log = logging.getLogger(__name__)

SIZE_CAP_CPU: Final = 64
SIZE_CAP_GPU: Final = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the user asks of a search. `settings` is the same for people: the options as given."""

    data: Path
    out: Path
    space: Space
    budget: Budget
    starts: Sequence[Configuration] = ()
    test: Path | None = None
    groups: Path | None = None
    folds: int = 5
    epochs: int | None = None
    image_size: int | None = None
    seed: int = 0
    metric: Metric = "balanced_accuracy"
    workers: int | None = None
    storage: str | None = None
    study: str = "steadynet"
    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


MakePool = Callable[[list[Setup], Callable[[], bool]], Pool]


def search(request: Request, listener: Listener, clock: Clock, make_pool: MakePool = Pool) -> Results:
    """Run or go on with the study in `request.out` until its budget is used up or the clock is told to end.

    Args:
        request: what to search.
        listener: told how it goes.
        clock: says when to end.
        make_pool: makes the workers, from what each is told and from who says that a fit must stop.

    Raises:
        UserError: the user can mend it; nothing that was there is lost.
    """
    _refuse_tangled(request)
    with locked(request.out):
        return _Session(request, listener, clock, make_pool).run()


def _refuse_tangled(request: Request) -> None:
    """Folders that lie in each other would be taken for classes, or test images for training images."""
    data, out = request.data.resolve(), request.out.resolve()
    if out == data or data in out.parents:
        raise UserError(
            f"--out {request.out} lies in the image folder {request.data}, where it would be taken for a class. "
            "Pass an --out elsewhere."
        )
    if request.test is None:
        return
    test = request.test.resolve()
    if test == data or data in test.parents or test in data.parents:
        raise UserError(
            f"--test {request.test} and --data {request.data} share images, so its score would promise too much. "
            "Pass a --test folder that lies apart."
        )


class _Session:
    def __init__(self, request: Request, listener: Listener, clock: Clock, make_pool: MakePool) -> None:
        self.request, self.listener, self.clock, self.make_pool = request, listener, clock, make_pool
        self.must_stop: Callable[[], bool] = clock.search_over

    def run(self) -> Results:
        request = self.request
        going_on = holds_study(request.out, request.storage)
        if going_on:  # what is wrong with it is said before the images are read
            self._open()
        self.gpus = machine.gpus()
        self.images, self.test = self._load()
        self.listener.data(self.images.summary)
        self._check_request()
        if not going_on:  # not before all is known to be good: a start that is refused writes nothing
            self._open()
        self._check_identity()
        self.clock.resume(self.ledger.fact("seconds") or 0.0)
        self.ledger.set_fact("settings", {**request.settings, "command": request.command})
        self.pool = self._pool(self.gpus)
        try:
            self._start_workers()
            self.plan, self.protocol = self._plan()
            self.folds = self._folds(self.plan.folds)
            self._describe()
            self.terms = self._terms()
            self._run_trials()
            self.listener.stage("Ranking")
            results = self._with_test(analyse(read_study(self.ledger, self.study)))
        finally:
            self.pool.close()
            self.ledger.set_fact("seconds", self.clock.seconds)
        return replace(results, study=replace(results.study, seconds=self.clock.seconds))

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

    def _load(self) -> tuple[ImageSet, ImageSet | None]:
        request = self.request
        cap = SIZE_CAP_GPU if self.gpus else SIZE_CAP_CPU
        images = load_images(
            request.data,
            image_size=request.image_size,
            folds=request.folds,
            groups=request.groups,
            size_cap=cap,
            listener=self.listener,
        )
        if request.test is None:
            return images, None
        test = load_images(
            request.test,
            image_size=images.summary.image_size,
            folds=0,
            groups=None,
            size_cap=cap,
            channels=images.summary.channels,
            classes=tuple(images.summary.classes),
            listener=self.listener,
        )
        return images, test

    def _check_request(self) -> None:
        """Raise what there is to raise about folds, space and starts before anything is written."""
        request, summary = self.request, self.images.summary
        folds = make_folds(
            self.images.labels,
            folds=request.folds,
            seed=request.seed,
            groups=self.images.groups,
            class_names=tuple(summary.classes),
        )
        smallest = min(len(fold.train) for fold in folds)
        self._starts(self._bound(smallest, request.epochs or auto_epochs(summary.images)))

    def _check_identity(self) -> None:
        request = self.request
        asked = Identity(
            fingerprint=self.images.summary.fingerprint,
            groups=groups_hash(self.images.groups),
            image_size=self.images.summary.image_size,
            folds=request.folds,
            epochs=request.epochs,
            seed=request.seed,
            metric=request.metric,
            space=request.space.hash,
        )
        if not self.study.get_trials(deepcopy=False):  # nothing was tried yet: nothing can be mixed up
            self.ledger.forget_facts()
        stored = self.ledger.fact("identity")
        if stored is None:
            self.ledger.set_fact("identity", asdict(asked))
            self.ledger.set_fact("space", request.space.as_dict())
        else:
            refuse_other(Identity(**stored), asked, request.out)

    def _pool(self, gpus: tuple[machine.Gpu, ...]) -> Pool:
        setups = [
            Setup(
                pixels=self.images.path,
                labels=self.images.labels,
                metric=self.request.metric,
                threads=threads,
                gpu=gpu,
                log=self.request.out / "worker.log",
            )
            for gpu, threads in machine.shares(self.request.workers, gpus)
        ]
        return self.make_pool(setups, lambda: self.must_stop())

    def _start_workers(self) -> None:
        self.listener.stage("Starting TensorFlow in its own process")
        with self.pool.worker() as worker:
            worker.start()
        ready = self.pool.ready
        if ready is not None and self.gpus and not ready.on_gpu:
            _log.warning(
                "This machine has an NVIDIA GPU (%s) that TensorFlow does not see; the search runs on the CPU. "
                "To use it: pip install 'steadynet[gpu]' (from a checkout: pip install -e '.[gpu]').",
                self.gpus[0].name,
            )
            self.gpus = ()
            self.pool.close()
            self.pool = self._pool(())
            with self.pool.worker() as worker:
                worker.start()

    def _plan(self) -> tuple[Plan, Protocol]:
        stored = self.ledger.fact("plan")
        summary, request = self.images.summary, self.request
        if stored is not None:
            plan = Plan(**{**stored, "notes": tuple(stored["notes"])})
            return self._timed(plan), Protocol(**self.ledger.fact("protocol"))
        epochs = request.epochs or auto_epochs(summary.images)
        protocol = Protocol(
            epochs=epochs,
            image_size=summary.image_size,
            channels=summary.channels,
            classes=len(summary.classes),
            precision=machine.precision(self.gpus[0] if self.gpus else None),
        )
        left = self.clock.left
        epoch_seconds, trace_seconds = (0.0, 0.0) if left is None else self._price(protocol)
        plan = make_plan(
            epochs=epochs,
            epochs_fixed=request.epochs is not None,
            folds=request.folds,
            seconds=self.clock.left,
            epoch_seconds=epoch_seconds,
            trace_seconds=trace_seconds,
            test=self.test is not None,
        )
        protocol = replace(protocol, epochs=plan.epochs)
        self.ledger.set_fact("protocol", asdict(protocol))
        self.ledger.set_fact("plan", asdict(plan))
        return plan, protocol

    def _timed(self, plan: Plan) -> Plan:
        """A stored plan with the time that this session has: the budget may have been raised."""
        left = self.clock.left
        return replace(plan, search_seconds=None if left is None else max(0.0, left - plan.final_seconds))

    def _price(self, protocol: Protocol) -> tuple[float, float]:
        self.listener.stage("Timing the first epochs")
        rows = np.arange(len(self.images.labels))
        val = rows[:: self.request.folds]
        train = np.setdiff1d(rows, val)
        configurations = known_good(self._bound(len(train), protocol.epochs))
        if not configurations:
            return 0.0, 0.0
        with self.pool.worker() as worker:
            priced = worker.price(Pricing(configuration=configurations[0], protocol=protocol, train=train, val=val))
        return priced.epoch, priced.trace

    def _folds(self, count: int) -> tuple[Fold, ...]:
        names = tuple(self.images.summary.classes)
        folds = make_folds(
            self.images.labels, folds=count, seed=self.request.seed, groups=self.images.groups, class_names=names
        )
        sentences = fold_warnings(self.images.labels, folds, names)
        for sentence in sentences:
            _log.warning("%s", sentence)
        self.plan = replace(self.plan, notes=tuple(dict.fromkeys((*self.plan.notes, *sentences))))
        self.ledger.set_fact("plan", asdict(self.plan))
        return folds

    def _bound(self, images: int, epochs: int) -> Space:
        try:
            return self.request.space.bound_to(images, epochs)
        except SpaceError as error:
            raise UserError(f"--space: {error}") from None

    def _describe(self) -> None:
        """Keep what a report needs, so that it can be made again without images and without TensorFlow."""
        self.ledger.set_fact("data", asdict(self.images.summary))
        self.ledger.set_fact("labels", self.images.labels.tolist())
        groups = self.images.groups
        self.ledger.set_fact("groups", None if groups is None else groups.tolist())
        ready = self.pool.ready
        self.ledger.set_fact("device", "CPU" if ready is None else ready.device)
        packages = ("optuna", "numpy", "scikit-learn", "pillow")
        versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
        self.ledger.set_fact("versions", {**versions, **({} if ready is None else ready.versions)})
        if self.ledger.fact("baselines") is None:
            self.listener.stage("Scoring the baselines")
            pairs = [(fold.train, fold.val) for fold in self.folds]
            found = baselines(self.images.pixels(), self.images.labels, pairs, self.request.metric)
            self.ledger.set_fact("baselines", found)

    def _terms(self) -> Terms:
        return Terms(
            labels=self.images.labels,
            folds=self.folds,
            fingerprint=self.images.summary.fingerprint,
            protocol=self.protocol,
            plan=self.plan,
            metric=self.request.metric,
            chance=metrics.chance(self.request.metric, self.images.labels),
            seed=self.request.seed,
        )

    def _run_trials(self) -> None:
        budget = self.request.budget
        smallest = min(len(fold.train) for fold in self.folds)
        space = self._bound(smallest, self.protocol.epochs)
        order = queue.Queue(self.study, self.storage, space, self._starts(space))
        again = order.resume()
        if again:
            _log.info("Going on with %d interrupted trial(s).", again)
        history = History(self.terms, read_trials(self.ledger, self.study))
        self.clock.reserve = lambda: self._reserve(history)
        done = queue.finished(self.study)
        self.listener.planned(self.plan, budget.trials, self.clock.left, done)
        left = None if budget.trials is None else budget.trials - done
        if (left is not None and left <= 0) or self._no_progress(history) or self.clock.search_over():
            return
        order.refill(len(self.pool))

        def after_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            self.ledger.set_fact("seconds", self.clock.seconds)
            if self.clock.search_over():
                study.stop()
                return
            order.refill(len(self.pool))
            if self._no_progress(history):
                _log.info("Further trials bring nothing: the search ends before its budget.")
                study.stop()

        self.listener.stage("Searching")
        objective = Objective(self.terms, space, self.ledger, self.pool, order, history, self.listener)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Fixed parameter", category=UserWarning)
            self.study.optimize(
                objective,
                n_trials=left,
                n_jobs=len(self.pool),
                catch=(Interrupted, TrialFailed),
                callbacks=[after_trial],
            )

    def _starts(self, space: Space) -> list[Configuration]:
        own = []
        for configuration in self.request.starts:
            try:
                space.parameters(configuration)
                own.append(configuration)
            except SpaceError as error:
                raise UserError(f"--start: {error} Widen the space, or change the configuration.") from None
        return list({c.hash: c for c in (*own, *known_good(space))}.values())

    def _no_progress(self, history: History) -> bool:
        if not self.request.budget.until_no_progress:
            return False
        deviation = pooled_deviation(history.fold_scores())
        folds = len(self.folds)
        error = None if deviation is None else standard_error(deviation, folds, folds)
        return no_more_progress(history.best_so_far, error)

    def _reserve(self, history: History) -> float:
        """Seconds to keep for the end: a final training of the best so far, the test, the report."""
        best = history.best_trial()
        if best is None or self.test is None:
            return self.plan.final_seconds
        fit = max(f.seconds for f in best.fits) * self.plan.folds / (self.plan.folds - 1)
        return max(self.plan.final_seconds, 10.0 + 1.3 * fit)

    def _with_test(self, results: Results) -> Results:
        """Score the recommendation on the test images, unless that stands in the ledger or time is up."""
        best = results.recommended
        if best is None or self.test is None:
            return results
        known = results.study.test
        if known is not None and known.configuration == best.ranked.trial.configuration.hash:
            return results
        test = None
        if not self.clock.over():
            self.listener.stage("Training the recommendation on all images")
            self.must_stop = self.clock.over
            test = test_recommendation(best, self.test, self.terms, self.pool)
        self.ledger.set_fact("test", None if test is None else asdict(test))
        return replace(results, study=replace(results.study, test=test))
