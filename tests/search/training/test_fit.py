"""One fit: what happens when. The trainer is a fake, the arithmetic of losses and skills is the real one."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from search import seeds
from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.fit_checks import LAYER_SIGNALS, Collapse
from search.records import Verdict
from search.selection.metrics import MetricScorer
from search.training import fit, time_limit
from search.training.fit import Interrupted, run_fit
from search.training.lr_schedule import Schedule
from search.training.sampling import balance
from spaces.config import CLASS_WEIGHTINGS, OVERSAMPLINGS
from tests.search.training.fakes import FakeTrainer, FakeWatch

LOST = Collapse(reason="prior-predictor", hard=False, epoch=3, evidence={"train_skill": 0.0})


@pytest.fixture
def run(make_configuration, make_job, labels):
    """Run a fit; gives its outcome, its trainer, its watch and the checks that were told."""

    def go(*, answers=None, momentum=0.0, watch=None, prepare=None, changes=None, on_check=None, on_epoch=None, **job):
        trainer = FakeTrainer(make_configuration(**(changes or {})), labels, answers, momentum)
        if prepare:
            prepare(trainer)
        watch = watch or FakeWatch()
        told = []
        epochs = []
        outcome = run_fit(
            trainer,
            make_job(**job),
            trainer.labels,
            watch,
            MetricScorer(),
            on_check or told.append,
            on_epoch or epochs.append,
        )
        return SimpleNamespace(outcome=outcome, trainer=trainer, watch=watch, told=told, epochs=epochs)

    return go


@pytest.fixture
def knowing(labels):
    """Answers that get better by the epoch and are all right in the end."""
    return lambda epoch: np.eye(3)[labels] * epoch / 4


def test_a_fit_that_runs_to_its_end_learned(run, knowing, make_job) -> None:
    got = run(answers=knowing)
    outcome, job = got.outcome, make_job()
    assert (outcome.verdict, outcome.reason, outcome.evidence, outcome.audit) == (Verdict.LEARNED, None, {}, None)
    assert outcome.epochs == 12
    assert outcome.score == 1.0
    assert outcome.probabilities.shape == (len(job.val), 3)
    assert outcome.probabilities.dtype == np.float32
    np.testing.assert_allclose(outcome.probabilities.sum(1), 1, rtol=1e-6)
    assert [check.epoch for check in outcome.checks] == list(range(1, 13))
    assert [check.updates for check in outcome.checks] == [15 * epoch for epoch in range(1, 13)]
    assert list(outcome.checks) == got.told
    assert got.watch.last == outcome.checks[-1]
    np.testing.assert_array_equal(got.watch.last_probabilities, outcome.probabilities)


def test_loss_and_skill_by_hand(run, knowing) -> None:
    """At the last of twelve epochs the right class leads by 3: loss = log(1 + 2 exp(-3))."""
    check = run(answers=knowing).outcome.checks[-1]
    loss = np.log1p(2 * np.exp(-3))
    entropy = -sum(p * np.log(p) for p in (0.6, 0.3, 0.1))
    assert check.train_loss == pytest.approx(loss)
    assert check.val_loss == pytest.approx(loss)
    assert check.train_skill == pytest.approx(1 - loss / entropy)
    assert check.val_skill == pytest.approx(1 - loss / entropy)
    assert (check.score, check.auc, check.top_share) == (1.0, 1.0, pytest.approx(12 / 20))
    assert check.logit_spread == pytest.approx(3 * np.sqrt(0.6 * 0.4))
    assert check.warmth == 1.0


@pytest.mark.parametrize(("oversampling", "weighting"), list(product(OVERSAMPLINGS, CLASS_WEIGHTINGS)))
def test_the_constant_predictor_has_no_skill(run, oversampling, weighting) -> None:
    """In training as in validation. Of 16, 4 and 4 images every way of oversampling shows whole numbers."""
    labels = np.repeat([0, 1, 2], [32, 8, 8])
    rows = np.arange(len(labels))
    got = run(
        changes={"oversampling": oversampling, "class_weighting": weighting},
        prepare=lambda trainer: setattr(trainer, "labels", labels),
        train=rows[::2],
        val=rows[1:40:2],  # other shares than the training fold has
    )
    for check in got.outcome.checks:
        assert check.train_skill == pytest.approx(0, abs=1e-9)
        assert check.val_skill == pytest.approx(0, abs=1e-9)
    assert got.outcome.skill == pytest.approx(0, abs=1e-9)


def test_the_trainer_is_told_weights_prior_and_seed(run, make_job, labels) -> None:
    got = run(changes={"oversampling": "sqrt", "class_weighting": "balanced"})
    job = make_job()
    expected = balance(np.bincount(labels[job.train]), "sqrt", "balanced")
    begun = got.trainer.begun
    assert begun["seed"] == job.seed
    np.testing.assert_array_equal(begun["rows"], job.train)
    np.testing.assert_allclose(begun["class_weights"], expected.weights)
    np.testing.assert_allclose(begun["prior"], [1 / 3] * 3)


def test_each_epoch_has_its_own_images_rates_and_augmentation(run, make_job) -> None:
    trainer, job = run().trainer, make_job()
    assert all(rows.shape == (15, 4) for rows in trainer.shown)
    assert all(set(rows.ravel()) == set(job.train) for rows in trainer.shown)
    assert len({rows.tobytes() for rows in trainer.shown}) == 12
    assert len(set(trainer.seeds)) == 12
    assert trainer.seeds[3] == seeds.child(job.seed, "augment", 3)
    planned = Schedule.planned(12, 15)
    for epoch, rates in enumerate(trainer.rates):
        np.testing.assert_allclose(rates, planned.rates(epoch) * 0.01, rtol=1e-6)


def test_another_seed_shows_the_images_in_another_order_and_the_same_seed_in_the_same(run) -> None:
    one, again, other = (run(seed=seed).trainer.shown for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_long_fit_is_looked_at_every_few_epochs_and_at_its_end(run) -> None:
    got = run(epochs=64)
    assert [check.epoch for check in got.told] == [*range(3, 64, 3), 64]
    check = got.told[1]  # epochs 4, 5, 6
    assert got.epochs == list(range(1, 65)), "each epoch is told"
    assert (check.first_gradient, check.last_gradient) == (6, 12)
    assert check.update_ratio == pytest.approx(0.5)


def test_dead_units_are_looked_for_on_at_most_32_images_of_every_class(run, labels) -> None:
    probed = run().trainer.probed
    assert len(probed) == 32
    assert set(labels[probed]) == {0, 1, 2}


def test_a_collapse_ends_the_fit_with_reason_and_evidence(run) -> None:
    got = run(watch=FakeWatch([None, None, LOST]))
    outcome = got.outcome
    assert (outcome.verdict, outcome.reason, outcome.evidence) == (Verdict.COLLAPSED, "prior-predictor", LOST.evidence)
    assert outcome.epochs == 3
    assert len(outcome.checks) == len(got.told) == 3
    assert outcome.score == pytest.approx(1 / 3)


def test_a_collapse_that_only_shows_at_the_end(run) -> None:
    outcome = run(watch=FakeWatch(end=LOST)).outcome
    assert (outcome.verdict, outcome.reason, outcome.epochs) == (Verdict.COLLAPSED, "prior-predictor", 12)


def test_batchnorm_is_reestimated_before_a_verdict_and_measured_again(run) -> None:
    got = run(momentum=0.9, watch=FakeWatch([None, LOST, None]), epochs=3)
    assert got.trainer.calls == [
        "look",
        *("epoch", "logits"),
        *("epoch", "logits", "reestimate", "logits"),  # the second look takes the verdict back
        *("epoch", "logits", "reestimate", "logits"),  # the last epoch
    ]
    assert [check.epoch for check in got.watch.heard] == [1, 2, 2, 3, 3]
    assert [check.epoch for check in got.told] == [1, 2, 3]
    assert got.outcome.verdict is Verdict.LEARNED
    assert [check.warmth for check in got.told] == [pytest.approx(1 - 0.9**15), 1.0, 1.0]


def test_a_verdict_that_stands_after_reestimation_ends_the_fit(run) -> None:
    got = run(momentum=0.9, watch=FakeWatch([None, LOST, LOST]))
    assert (got.outcome.verdict, got.outcome.epochs) == (Verdict.COLLAPSED, 2)
    assert got.outcome.checks[-1].warmth == 1.0


def test_the_loss_with_batch_statistics_speaks_for_a_network_too(run) -> None:
    """Dropout spoils the training loss: the better of both counts."""
    got = run(momentum=0.9, prepare=lambda trainer: setattr(trainer, "steady_loss", 0.125))
    assert got.told[-1].train_loss == 0.125
    assert got.told[0].train_loss > 0.5


def test_without_batchnorm_nothing_is_reestimated(run) -> None:
    assert "reestimate" not in run(watch=FakeWatch([None, LOST])).trainer.calls


def test_an_audited_fit_tells_what_was_let_pass(run) -> None:
    outcome = run(watch=FakeWatch(audited_collapse=LOST)).outcome
    assert (outcome.verdict, outcome.audit) == (Verdict.LEARNED, LOST)


def set_clock(monkeypatch, times) -> None:
    """Only the fit's: other threads of the test runner look at the process's own."""
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: float(next(times))))


def test_a_fit_that_will_take_too_long_is_stopped_after_three_epochs(run, monkeypatch) -> None:
    clock = iter(range(0, 10_000, 10))  # each look at the clock is ten seconds after the one before
    set_clock(monkeypatch, clock)
    outcome = run(limit_seconds=137.0).outcome  # 12 epochs of 10 s, and 15 % for the checks
    assert (outcome.verdict, outcome.reason, outcome.epochs) == (Verdict.STOPPED, "too-slow", 3)
    assert outcome.evidence == {"epoch_seconds": 10.0, "limit_seconds": 137.0}
    assert run(limit_seconds=139.0).outcome.verdict is Verdict.LEARNED
    assert run(limit_seconds=None).outcome.verdict is Verdict.LEARNED


@pytest.mark.parametrize(("step", "slow"), [(1.3, True), (1.0, False), (None, False)])
def test_what_is_far_too_slow_shows_before_its_first_epoch(run, monkeypatch, step, slow) -> None:
    """Twelve epochs of fifteen steps, and 15 % for the checks, within twice a hundred and ten seconds."""
    monkeypatch.setattr(time_limit, "_FEWEST_STEPS", 15)
    got = run(limit_seconds=110.0, prepare=lambda trainer: setattr(trainer, "step", step))
    assert (got.outcome.reason == "too-slow") is slow
    assert got.trainer.calls.count("epoch") == (0 if slow else 12)
    if slow:
        assert got.outcome.evidence == {"epoch_seconds": pytest.approx(19.5), "limit_seconds": 110.0}
        assert (got.outcome.verdict, got.outcome.epochs) == (Verdict.STOPPED, 0)


def test_short_epochs_and_fits_without_a_limit_try_no_steps(run) -> None:
    assert "step" not in run(limit_seconds=1e6).trainer.calls
    assert "step" not in run(limit_seconds=None).trainer.calls


def test_one_that_would_take_twice_its_time_shows_by_the_first_warm_epoch(run, monkeypatch) -> None:
    clock = iter(range(0, 10_000, 10))
    set_clock(monkeypatch, clock)
    outcome = run(limit_seconds=68.0).outcome
    assert (outcome.verdict, outcome.reason, outcome.epochs) == (Verdict.STOPPED, "too-slow", 2)
    assert run(limit_seconds=70.0).outcome.epochs == 3


def test_the_first_epoch_is_no_measure_of_time(run, monkeypatch) -> None:
    """It traces the network: a hundred seconds there, one a warm epoch."""
    times = iter([0, 0, 100, *range(101, 10_000)])
    set_clock(monkeypatch, times)
    assert run(limit_seconds=20.0).outcome.verdict is Verdict.LEARNED


def test_a_fit_that_becomes_slow_is_stopped_when_its_time_is_over(run, monkeypatch) -> None:
    """Quick at first, then each look at the clock is ten seconds after the one before."""
    times = iter([0, *range(1, 11), *range(20, 10_000, 10)])
    set_clock(monkeypatch, times)
    outcome = run(limit_seconds=30.0).outcome
    assert (outcome.verdict, outcome.reason) == (Verdict.STOPPED, "too-slow")
    assert outcome.epochs == 8, "epochs 2 to 5 took a second each, the others ten"


def test_with_nothing_left_to_learn_the_fit_cools_down_early(run, labels) -> None:
    got = run(answers=lambda epoch: np.eye(3)[labels] * 50, epochs=30)
    assert got.outcome.epochs == 2 + 6, "two checks say so; a fifth of the plan to cool down"
    assert got.outcome.verdict is Verdict.LEARNED
    rates = np.concatenate(got.trainer.rates)
    assert rates[-1] == rates.min() > 0
    assert rates[-1] <= 0.01 / (6 * 15) + 1e-6
    assert got.told[-1].epoch == 8


def test_without_validation_images_training_speaks_alone(run, knowing, make_job) -> None:
    job = make_job()
    got = run(val=job.val[:0])
    outcome = got.outcome
    assert outcome.verdict is Verdict.LEARNED
    assert (outcome.score, outcome.loss, outcome.skill) == (None, None, None)
    assert outcome.probabilities.shape == (0, 3)
    assert got.trainer.calls.count("logits") == 1, "of training images, in the end"
    assert (got.watch.train_auc, run(val=job.val[:0], answers=knowing).watch.train_auc) == (0.5, 1.0)
    assert np.isnan(run(answers=knowing).watch.train_auc)
    check = outcome.checks[-1]
    assert check.finite
    assert np.isfinite(check.train_skill)
    assert all(np.isnan(value) for value in (check.val_loss, check.val_skill, check.score, check.auc, check.top_share))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_explosion_is_looked_at_at_once_and_ends_the_fit(run, momentum) -> None:
    context = FitContext(epochs=64, updates_per_epoch=15, imbalance=6, batchnorm=momentum > 0, prior_entropy=0.9)
    got = run(
        epochs=64,
        momentum=momentum,
        watch=Watch(context, audited=True),
        prepare=lambda trainer: setattr(trainer, "infinite_at", 5),  # between the checks at 3 and 6
    )
    assert (got.outcome.verdict, got.outcome.reason, got.outcome.epochs) == (Verdict.COLLAPSED, "non-finite", 5)
    assert "reestimate" not in got.trainer.calls
    assert not got.told[-1].finite


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_infinite_answers_are_no_probabilities(run, labels, value) -> None:
    def answers(epoch: int) -> np.ndarray:
        some = np.zeros((len(labels), 3))
        if epoch > 1:
            some[0, 0] = value  # a validation image
        return some

    context = FitContext(epochs=12, updates_per_epoch=15, imbalance=6, batchnorm=False, prior_entropy=0.9)
    outcome = run(answers=answers, watch=Watch(context)).outcome
    assert (outcome.verdict, outcome.reason, outcome.epochs) == (Verdict.COLLAPSED, "non-finite", 2)
    assert (outcome.score, outcome.loss, outcome.skill) == (None, None, None)
    assert outcome.probabilities.shape == (0, 3)


@pytest.mark.parametrize("heard_by", ["on_check", "on_epoch"])
def test_who_hears_of_a_fit_may_end_it(run, heard_by) -> None:
    heard = []

    def stop(what) -> None:
        heard.append(what)
        if len(heard) == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(**{heard_by: stop})
    assert len(heard) == 4


def test_large_logits_do_not_overflow(run, labels) -> None:
    outcome = run(answers=lambda epoch: np.eye(3, dtype=np.float32)[labels] * 700).outcome
    assert outcome.loss == pytest.approx(0, abs=1e-6)
    assert np.isfinite(outcome.probabilities).all()


def test_the_layers_are_kept_from_before_the_first_step_to_the_last_check(run) -> None:
    got = run(epochs=60)  # a check every second epoch
    assert got.outcome.layers.shape == (31, 2, len(LAYER_SIGNALS))
    scale, gradient = (LAYER_SIGNALS.index(name) for name in ("scale", "gradient"))
    assert got.outcome.layers[:, 0, scale].tolist() == [0, *range(2, 61, 2)]
    assert got.outcome.layers[0, :, gradient].tolist() == [1, 1]  # of the first step, whatever the checks' rhythm
    assert got.outcome.shares.shape == (30, 3)
    assert got.outcome.shares.sum(1).tolist() == [1.0] * 30
    assert all(c.top_share == s.max() for c, s in zip(got.outcome.checks, got.outcome.shares, strict=True))
    assert set(got.outcome.start) == {"finite", "loss", "top_share", "logit_spread"}
