"""One fit: epochs on a schedule, checks for the watch, a verdict at the last epoch.

The engine does the arithmetic, the watch judges, the scorer scores: this module only says what happens when. It does
not load TensorFlow, so that the coordinator can read an outcome.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from search import seeds
from search.arrays import FloatArray, IntArray
from search.fit_checks import LAYER_SIGNALS, Check, Collapse
from search.records import CUT_BY_RUNG, TOO_SLOW, FitOutcome, Verdict
from search.training.checkpoint import Checkpoint
from search.training.epoch import EpochSums
from search.training.interfaces import Checkpoints, CollapseWatch, Scorer, Trainer
from search.training.job import FitJob
from search.training.lr_schedule import Schedule, check_epochs, fit_seconds, missed_bar, nothing_left
from search.training.measures import answers, log_loss, log_softmax, skill
from search.training.sampling import Balance, balance_of, cross_entropy, epoch_rows

_PROBE_IMAGES = 32
_RANKED_IMAGES = 512
_PRICED_EPOCHS = 3  # after which a fit's time is foreseen; the first one also traces the network
_FAR_TOO_SLOW = 2.0  # times the limit, foreseen by a few steps before the first epoch, or by the first warm one alone
_TRIED_STEPS = 16  # that an epoch has at least where a few are tried first

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The fit was told to end; it can be gone on with if there is a drawer, else nothing of it counts."""


def run_fit(
    trainer: Trainer,
    job: FitJob,
    labels: IntArray,
    watch: CollapseWatch,
    scorer: Scorer,
    on_check: Callable[[Check], None] = lambda check: None,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    drawer: Checkpoints | None = None,
) -> FitOutcome:
    """Train one configuration on one split with one seed, or go on with what lies in the drawer.

    `on_check` is called after each check, `on_epoch` after each epoch; both may raise `Interrupted`. What `on_epoch`
    interrupts is put into the drawer, and what takes long from time to time.
    """
    return _Fit(trainer, job, labels, watch, scorer, on_check, on_epoch, drawer).run()


class _Fit:
    def __init__(
        self,
        trainer: Trainer,
        job: FitJob,
        labels: IntArray,
        watch: CollapseWatch,
        scorer: Scorer,
        on_check: Callable[[Check], None],
        on_epoch: Callable[[int], None],
        drawer: Checkpoints | None,
    ) -> None:
        configuration = trainer.configuration
        self.trainer, self.job, self.labels, self.watch, self.scorer = trainer, job, labels, watch, scorer
        self.classes = job.protocol.classes
        self.on_check, self.on_epoch, self.drawer = on_check, on_epoch, drawer
        self.batch = configuration.batch_size
        self.steps = len(job.train) // self.batch
        self.train_labels = labels[job.train]
        counts = np.bincount(self.train_labels, minlength=self.classes)
        self.balance: Balance = balance_of(counts, configuration)
        self.train_reference = cross_entropy(self.balance.drawn, self.balance.prior)
        self.val_labels = labels[job.val]
        shares = np.bincount(self.val_labels, minlength=self.classes) / max(1, len(job.val))
        self.val_reference = cross_entropy(shares, self.balance.prior)
        short = trainer.at_once < self.batch
        most = min(_PROBE_IMAGES, trainer.at_once) if short else _PROBE_IMAGES
        self.probe = _spread(trainer.alike(job.train), most)
        self.every = check_epochs(job.protocol.epochs)
        self.schedule = Schedule.planned(job.protocol.epochs, self.steps)
        self.checks: list[Check] = []
        self.layers: list[FloatArray] = []
        self.shares: list[FloatArray] = []
        self.start: dict[str, float] = {}
        self.since: list[EpochSums] = []
        self.epoch_seconds: list[float] = []
        self.last_rows = np.zeros((0, 0), np.int32)
        self.probabilities = np.zeros((0, self.classes), np.float32)
        self.is_gone_on_with = False
        self.started = time.monotonic()

    def run(self) -> FitOutcome:
        job, configuration = self.job, self.trainer.configuration
        found = None if self.drawer is None else self.drawer.take()
        if found is None and (evidence := self._far_too_slow()) is not None:
            seconds = time.monotonic() - self.started
            return FitOutcome(verdict=Verdict.STOPPED, reason=TOO_SLOW, evidence=evidence, epochs=0, seconds=seconds)
        epoch = self._begin(found)
        while epoch < self.schedule.last:
            generator = seeds.generator(job.seed, "epoch", epoch)
            self.last_rows = epoch_rows(job.train, self.train_labels, self.balance.drawn, self.batch, generator)
            rates = self.schedule.rates(epoch) * np.float32(configuration.learning_rate)
            due = (epoch + 1) % self.every == 0 or epoch + 1 == self.schedule.last
            augment = seeds.child(job.seed, "augment", epoch)
            began = time.monotonic()
            self.since.append(
                self.trainer.train_epoch(
                    self.last_rows, rates, augment, self.probe if due else None, gradients=due or epoch == 0
                )
            )
            self.epoch_seconds.append(self._warm(time.monotonic() - began))
            epoch += 1
            if epoch == 1:
                self._add_first_gradients()
            if self._too_slow(epoch):
                evidence = {"epoch_seconds": min(self.epoch_seconds), "limit_seconds": float(job.limit_seconds or 0)}
                return self._outcome(Verdict.STOPPED, epoch, TOO_SLOW, evidence)
            last = epoch == self.schedule.last
            if epoch % self.every == 0 or last or not self.since[-1].finite:
                if (collapse := self._check(epoch, last=last)) is not None:
                    return self._outcome(Verdict.COLLAPSED, epoch, collapse.reason, collapse.evidence)
                if not last and (missed := missed_bar(self.checks, job.bars)) is not None:
                    return self._outcome(Verdict.STOPPED, epoch, CUT_BY_RUNG, missed)
                if nothing_left([check.train_skill for check in self.checks]):
                    self.schedule = self.schedule.cooled(epoch)
            self._pause(epoch)
        final = self.watch.final(self.checks[-1], self.probabilities, self._train_auc())
        if final is not None:
            return self._outcome(Verdict.COLLAPSED, epoch, final.reason, final.evidence)
        return self._outcome(Verdict.LEARNED, epoch)

    def _begin(self, found: Checkpoint | None) -> int:
        """Start anew, or where the drawer's snapshot was taken. Returns the finished epochs."""
        job = self.job
        self.trainer.begin(job.seed, job.train, self.balance)
        if found is not None and found.at_once != self.trainer.at_once:
            found = None  # augmentation and BatchNorm would be others from here on
        if found is not None:
            try:
                self.trainer.restore(found.trainer)
            except ValueError as error:
                _log.warning("A snapshot is of another network (%s): its fit begins anew.", error)
                self.trainer.begin(job.seed, job.train, self.balance)
                found = None
        if found is None:
            self._look_at_start()
            return 0
        self.schedule = replace(self.schedule, last=found.last, cool_from=found.cool_from)
        self.is_gone_on_with = True
        self.started -= found.seconds
        self.epoch_seconds = list(found.epoch_seconds)
        self.checks = list(found.checks)
        self.start = found.start
        self.since = list(found.since)
        self.layers = list(found.layers)
        self.shares = list(found.shares)
        self.probabilities = found.probabilities
        self.watch.resume(self.checks, found.passed)
        return found.epoch

    def _pause(self, epoch: int) -> None:
        """Between two epochs: others may have something to say."""
        try:
            self.on_epoch(epoch)
        except Interrupted:
            if self.drawer is not None:
                self.drawer.put(self._snapshot(epoch))
            raise
        if self.drawer is not None and self.drawer.is_due:
            self.drawer.put(self._snapshot(epoch))

    def _snapshot(self, epoch: int) -> Checkpoint:
        return Checkpoint(
            epoch=epoch,
            at_once=self.trainer.at_once,
            last=self.schedule.last,
            cool_from=self.schedule.cool_from,
            seconds=time.monotonic() - self.started,
            epoch_seconds=tuple(self.epoch_seconds),
            checks=tuple(self.checks),
            passed=self.watch.passed,
            start=self.start,
            since=tuple(self.since),
            layers=np.stack(self.layers),
            shares=self._shares(),
            probabilities=self.probabilities,
            trainer=self.trainer.state(),
        )

    def _shares(self) -> FloatArray:
        return np.array(self.shares, np.float32).reshape(-1, self.classes)

    def _look_at_start(self) -> None:
        """The untrained network: a loss far from the prior's, a silent layer, or one answer for all show here."""
        seen = self.trainer.look(self.probe)
        self.layers.append(seen.layers)
        logits = seen.logits.astype(np.float64)
        if not np.isfinite(logits).all():
            self.start = {"finite": 0.0}
            return
        loss = log_loss(log_softmax(logits), self.labels[self.probe])
        self.start = {"finite": 1.0, "loss": loss, **answers(logits)}

    def _add_first_gradients(self) -> None:
        measured = self.since[-1].probe
        if measured is not None:
            at = [LAYER_SIGNALS.index(name) for name in ("gradient", "zero_gradients")]
            self.layers[0] = self.layers[0].copy()
            self.layers[0][:, at] = measured.layers[:, at]

    def _layers_now(self) -> FloatArray:
        measured = self.since[-1].probe
        return measured.layers if measured is not None else np.full_like(self.layers[0], np.nan)

    def _check(self, epoch: int, *, last: bool) -> Collapse | None:
        """Measure, let the watch judge; BatchNorm's statistics are re-estimated before any verdict."""
        check = self._measure(epoch)
        collapse = self.watch.on_check(check)
        fair = check.finite and self.trainer.batchnorm_momentum > 0
        if fair and (collapse is not None or last):
            loss = self.trainer.reestimate_batchnorm(self.last_rows)
            check = replace(self._measure(epoch, steady_train_loss=loss), stale_skill=check.val_skill)
            collapse = self.watch.on_check(check)
        self.checks.append(check)
        self.layers.append(self._layers_now())
        said = self.probabilities.argmax(1) if len(self.probabilities) else np.zeros(0, np.int64)
        counts = np.bincount(said, minlength=self.classes)
        self.shares.append((counts / max(1, len(said))).astype(np.float32))
        self.since.clear()
        self.on_check(check)
        return collapse

    def _measure(self, epoch: int, steady_train_loss: float | None = None) -> Check:
        logits = self.trainer.logits(self.job.val) if len(self.job.val) else np.zeros((0, self.classes))
        wide = logits.astype(np.float64)
        train_loss = float(np.mean([sums.loss for sums in self.since]))
        if steady_train_loss is not None:
            train_loss = min(train_loss, steady_train_loss)
        updates = epoch * self.steps
        val = self._validate(wide)
        return Check(
            epoch=epoch,
            updates=updates,
            train_loss=train_loss,
            train_skill=skill(train_loss, self.train_reference),
            dead_share=self._dead_share(),
            first_gradient=max(sums.first_gradient for sums in self.since),
            last_gradient=max(sums.last_gradient for sums in self.since),
            update_ratio=float(np.mean([sums.update_ratio for sums in self.since])),
            finite=all(sums.finite for sums in self.since) and bool(np.isfinite(wide).all()),
            warmth=1.0 if steady_train_loss is not None else 1.0 - self.trainer.batchnorm_momentum**updates,
            **val,
        )

    def _train_auc(self) -> float:
        """Of training images in evaluation mode, where no others can speak; else NaN."""
        rows = _spread(self.job.train, _RANKED_IMAGES)
        logits = np.zeros((0, 0)) if len(self.job.val) else self.trainer.logits(rows).astype(np.float64)
        if not len(logits) or not np.isfinite(logits).all():
            return float("nan")
        probabilities = np.exp(log_softmax(logits)).astype(np.float32)
        return self.scorer.auc(self.labels[rows], probabilities)

    def _dead_share(self) -> float:
        """Of the worst hidden layer; 0 where there is none, or where a non-finite epoch came between two checks."""
        shares = self._layers_now()[:-1, LAYER_SIGNALS.index("dead_share")]
        return float(np.nan_to_num(shares).max(initial=0.0))

    def _validate(self, logits: npt.NDArray[np.float64]) -> dict[str, Any]:
        nothing = {
            name: float("nan") for name in ("val_loss", "val_skill", "score", "auc", "top_share", "logit_spread")
        }
        if not len(logits) or not np.isfinite(logits).all():
            self.probabilities = np.zeros((0, self.classes), np.float32)
            return nothing
        log_p = log_softmax(logits)
        self.probabilities = np.exp(log_p).astype(np.float32)
        loss = log_loss(log_p, self.val_labels)
        return {
            "val_loss": loss,
            "val_skill": skill(loss, self.val_reference),
            "score": self.scorer.score(self.val_labels, self.probabilities),
            "auc": self.scorer.auc(self.val_labels, self.probabilities),
            **answers(logits),
        }

    def _warm(self, seconds: float) -> float:
        """Of an epoch; the first one of a fit that is gone on with traces its network once more."""
        is_again, self.is_gone_on_with = self.is_gone_on_with, False
        return min(seconds, *self.epoch_seconds) if is_again and self.epoch_seconds else seconds

    def _far_too_slow(self) -> dict[str, float] | None:
        """The numbers that say so, by a few steps on weights that are then forgotten; None: it may be quick enough."""
        limit = self.job.limit_seconds
        if limit is None or self.steps < _TRIED_STEPS:
            return None
        seconds = self.trainer.step_seconds(self.job.train)
        if seconds is None or fit_seconds(seconds * self.steps, self.job.protocol.epochs) <= _FAR_TOO_SLOW * limit:
            return None
        return {"epoch_seconds": seconds * self.steps, "limit_seconds": limit}

    def _too_slow(self, epoch: int) -> bool:
        """Foreseen once the epochs are warm; seen at any epoch."""
        limit = self.job.limit_seconds
        if limit is None:
            return False
        foreseen = fit_seconds(min(self.epoch_seconds), self.job.protocol.epochs)
        warm = 1 < epoch <= _PRICED_EPOCHS
        bearable = limit if epoch == _PRICED_EPOCHS else _FAR_TOO_SLOW * limit
        return sum(self.epoch_seconds[1:]) > limit or (warm and foreseen > bearable)

    def _outcome(
        self, verdict: Verdict, epoch: int, reason: str | None = None, evidence: Mapping[str, float] | None = None
    ) -> FitOutcome:
        last = self.checks[-1] if self.checks else None
        measured = last is not None and len(self.probabilities) > 0
        return FitOutcome(
            verdict=verdict,
            reason=reason,
            evidence=dict(evidence or {}),
            epochs=epoch,
            seconds=time.monotonic() - self.started,
            score=last.score if last is not None and measured else None,
            loss=last.val_loss if last is not None and measured else None,
            skill=last.val_skill if last is not None and measured else None,
            audit=self.watch.passed,
            checks=tuple(self.checks),
            start=self.start,
            layers=np.stack(self.layers),
            shares=self._shares(),
            probabilities=self.probabilities,
        )


def _spread(rows: IntArray, most: int) -> IntArray:
    """At most `most` of the rows, evenly spaced: rows are ordered by class, so every class is among them."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
