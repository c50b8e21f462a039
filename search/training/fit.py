"""Control flow of one fit: epochs on a schedule, checks for collapse, a verdict at the end. Loads no TensorFlow."""

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
from search.training.lr_schedule import Schedule, check_epochs, is_saturated, missed_bar
from search.training.measures import log_loss, log_softmax, logit_statistics, skill
from search.training.sampling import Balance, balance_of, cross_entropy, epoch_rows
from search.training.time_limit import TimeLimit

_PROBE_IMAGES = 32
_RANKED_IMAGES = 512
_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The fit has to end before its time. It can be resumed from its checkpoint if there is one."""


def run_fit(
    trainer: Trainer,
    job: FitJob,
    labels: IntArray,
    watch: CollapseWatch,
    scorer: Scorer,
    on_check: Callable[[Check], None] = lambda check: None,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    checkpoints: Checkpoints | None = None,
) -> FitOutcome:
    """Train one configuration on one split with one seed, or resume it from its checkpoint.

    Args:
        trainer: trainer of the configuration's network.
        job: the split, the seed, the protocol and the limits.
        labels: `(n,)` class of each image of the study, 0..K-1.
        watch: judges whether the fit has collapsed.
        scorer: the study's metric.
        on_check: called with each check; may raise `Interrupted`.
        on_epoch: called after each epoch with the number of finished epochs; if it raises `Interrupted`, a checkpoint
            is saved.
        checkpoints: store that the fit resumes from, and saves to regularly; None: no checkpoints.

    Returns:
        Verdict, score, predictions and measurements of the fit.

    Raises:
        Interrupted: raised by `on_check` or `on_epoch`.
    """
    return _Fit(trainer, job, labels, watch, scorer, on_check, on_epoch, checkpoints).run()


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
        checkpoints: Checkpoints | None,
    ) -> None:
        configuration = trainer.configuration
        self.trainer, self.job, self.labels, self.watch, self.scorer = trainer, job, labels, watch, scorer
        self.classes = job.protocol.classes
        self.on_check, self.on_epoch, self.checkpoints = on_check, on_epoch, checkpoints
        self.batch = configuration.batch_size
        self.steps = len(job.train) // self.batch
        self.train_labels = labels[job.train]
        counts = np.bincount(self.train_labels, minlength=self.classes)
        self.balance: Balance = balance_of(counts, configuration)
        self.train_reference = cross_entropy(self.balance.drawn, self.balance.prior)
        self.val_labels = labels[job.val]
        shares = np.bincount(self.val_labels, minlength=self.classes) / max(1, len(job.val))
        self.val_reference = cross_entropy(shares, self.balance.prior)
        short = trainer.microbatch_size < self.batch
        most = min(_PROBE_IMAGES, trainer.microbatch_size) if short else _PROBE_IMAGES
        self.probe = _spread(trainer.rows_of_one_shape(job.train), most)
        self.every = check_epochs(job.protocol.epochs)
        self.schedule = Schedule.planned(job.protocol.epochs, self.steps)
        self.checks: list[Check] = []
        self.layers: list[FloatArray] = []
        self.shares: list[FloatArray] = []
        self.start: dict[str, float] = {}
        self.since: list[EpochSums] = []
        self.epoch_seconds: list[float] = []
        self.time_limit = TimeLimit(job, self.steps)
        self.last_rows = np.zeros((0, 0), np.int32)
        self.probabilities = np.zeros((0, self.classes), np.float32)
        self.is_resumed = False
        self.started = time.monotonic()

    def run(self) -> FitOutcome:
        job, configuration = self.job, self.trainer.configuration
        checkpoint = None if self.checkpoints is None else self.checkpoints.load()
        if checkpoint is None and (evidence := self.time_limit.evidence_from_steps(self.trainer)) is not None:
            seconds = time.monotonic() - self.started
            return FitOutcome(verdict=Verdict.STOPPED, reason=TOO_SLOW, evidence=evidence, epochs=0, seconds=seconds)
        epoch = self._begin(checkpoint)
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
            if (evidence := self.time_limit.evidence_from_epochs(self.epoch_seconds)) is not None:
                return self._outcome(Verdict.STOPPED, epoch, TOO_SLOW, evidence)
            last = epoch == self.schedule.last
            if epoch % self.every == 0 or last or not self.since[-1].finite:
                if (collapse := self._check(epoch, last=last)) is not None:
                    return self._outcome(Verdict.COLLAPSED, epoch, collapse.reason, collapse.evidence)
                if not last and (missed := missed_bar(self.checks, job.bars)) is not None:
                    return self._outcome(Verdict.STOPPED, epoch, CUT_BY_RUNG, missed)
                if is_saturated([check.train_skill for check in self.checks]):
                    self.schedule = self.schedule.cooled(epoch)
            self._pause(epoch)
        final = self.watch.final(self.checks[-1], self.probabilities, self._train_auc())
        if final is not None:
            return self._outcome(Verdict.COLLAPSED, epoch, final.reason, final.evidence)
        return self._outcome(Verdict.LEARNED, epoch)

    def _begin(self, checkpoint: Checkpoint | None) -> int:
        """Start anew, or from the checkpoint. Returns the number of finished epochs."""
        job = self.job
        self.trainer.begin(job.seed, job.train, self.balance)
        if checkpoint is not None and checkpoint.microbatch_size != self.trainer.microbatch_size:
            checkpoint = None  # augmentation and BatchNorm would be others from here on
        if checkpoint is not None:
            try:
                self.trainer.restore(checkpoint.trainer)
            except ValueError as error:
                _log.warning("The checkpoint of a fit is of another network (%s); the fit starts again.", error)
                self.trainer.begin(job.seed, job.train, self.balance)
                checkpoint = None
        if checkpoint is None:
            self._measure_start()
            return 0
        self.schedule = replace(self.schedule, last=checkpoint.last, cool_from=checkpoint.cool_from)
        self.is_resumed = True
        self.started -= checkpoint.seconds
        self.epoch_seconds = list(checkpoint.epoch_seconds)
        self.checks = list(checkpoint.checks)
        self.start = checkpoint.start
        self.since = list(checkpoint.since)
        self.layers = list(checkpoint.layers)
        self.shares = list(checkpoint.shares)
        self.probabilities = checkpoint.probabilities
        self.watch.resume(self.checks, checkpoint.audited_collapse)
        return checkpoint.epoch

    def _pause(self, epoch: int) -> None:
        """Between two epochs: save a checkpoint where one is due or the fit is interrupted."""
        try:
            self.on_epoch(epoch)
        except Interrupted:
            if self.checkpoints is not None:
                self.checkpoints.save(self._checkpoint(epoch))
            raise
        if self.checkpoints is not None and self.checkpoints.is_due:
            self.checkpoints.save(self._checkpoint(epoch))

    def _checkpoint(self, epoch: int) -> Checkpoint:
        return Checkpoint(
            epoch=epoch,
            microbatch_size=self.trainer.microbatch_size,
            last=self.schedule.last,
            cool_from=self.schedule.cool_from,
            seconds=time.monotonic() - self.started,
            epoch_seconds=tuple(self.epoch_seconds),
            checks=tuple(self.checks),
            audited_collapse=self.watch.audited_collapse,
            start=self.start,
            since=tuple(self.since),
            layers=np.stack(self.layers),
            shares=self._shares(),
            probabilities=self.probabilities,
            trainer=self.trainer.state(),
        )

    def _shares(self) -> FloatArray:
        return np.array(self.shares, np.float32).reshape(-1, self.classes)

    def _measure_start(self) -> None:
        """Measure the untrained network: a loss far from the prior's, a silent layer, or one answer for all."""
        untrained = self.trainer.probe_layers(self.probe)
        self.layers.append(untrained.layers)
        logits = untrained.logits.astype(np.float64)
        if not np.isfinite(logits).all():
            self.start = {"finite": 0.0}
            return
        loss = log_loss(log_softmax(logits), self.labels[self.probe])
        self.start = {"finite": 1.0, "loss": loss, **logit_statistics(logits)}

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
        decided = self.probabilities.argmax(1) if len(self.probabilities) else np.zeros(0, np.int64)
        counts = np.bincount(decided, minlength=self.classes)
        self.shares.append((counts / max(1, len(decided))).astype(np.float32))
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
        """AUC of training images in evaluation mode where there are no validation images; else NaN."""
        rows = _spread(self.job.train, _RANKED_IMAGES)
        logits = np.zeros((0, 0)) if len(self.job.val) else self.trainer.logits(rows).astype(np.float64)
        if not len(logits) or not np.isfinite(logits).all():
            return float("nan")
        probabilities = np.exp(log_softmax(logits)).astype(np.float32)
        return self.scorer.auc(self.labels[rows], probabilities)

    def _dead_share(self) -> float:
        """Dead share of the worst hidden layer; 0 without one, or where a non-finite epoch came between two checks."""
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
            **logit_statistics(logits),
        }

    def _warm(self, seconds: float) -> float:
        """Seconds of an epoch without tracing; the first epoch of a resumed fit traces its network once more."""
        is_again, self.is_resumed = self.is_resumed, False
        return min(seconds, *self.epoch_seconds) if is_again and self.epoch_seconds else seconds

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
            audit=self.watch.audited_collapse,
            checks=tuple(self.checks),
            start=self.start,
            layers=np.stack(self.layers),
            shares=self._shares(),
            probabilities=self.probabilities,
        )


def _spread(rows: IntArray, most: int) -> IntArray:
    """At most `most` of the rows, evenly spaced: rows are ordered by class, so every class is among them."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
