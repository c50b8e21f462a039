"""The engine against plain Keras, against NumPy and against itself."""

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.fit_checks import LAYER_SIGNALS
from search.records import FitOutcome
from search.selection.metrics import MetricScorer
from search.training import network
from search.training.checkpoint import CheckpointStore
from search.training.fit import Interrupted, run_fit
from search.training.sampling import Balance
from spaces.config import Configuration
from tests.factories import fit_job

PRIOR = np.array([0.5, 0.3, 0.2])
EVEN = np.ones(3)


def given(weights: np.ndarray = EVEN, prior: np.ndarray = PRIOR, margin: np.ndarray | None = None) -> Balance:
    return Balance(prior, weights, prior, np.zeros(3) if margin is None else margin)


EPOCHS, BATCH = 4, 8
EVERYTHING = {
    "normalization": "batch",
    "dropout": 0.3,
    "optimizer": "adamw",
    "weight_decay": 1e-2,
    "oversampling": "sqrt",
    "class_weighting": "balanced",
    "label_smoothing": 0.1,
    "horizontal_flip": True,
    "shift": 0.2,
    "rotation": 15.0,
    "input_scaling": "standardized",
}


def scaled(images: np.ndarray, rows: np.ndarray, scaling: str) -> np.ndarray:
    """As the network sees all images when it is trained on `rows`."""
    values = images.astype(np.float32)
    if scaling == "unit":
        return values / 255
    if scaling == "symmetric":
        return values / 127.5 - 1
    some = values[rows]
    return (values - some.mean((0, 1, 2))) / some.std((0, 1, 2))


def keras_optimizer(name: str, rate: float, decay: float) -> Any:
    spared = ["bias", "gamma", "beta"]
    if name == "adam":
        return keras.optimizers.Adam(rate)
    if name == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
    else:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay)
    optimizer.exclude_from_weight_decay(var_names=spared)
    return optimizer


def keras_loss(configuration: Configuration) -> Any:
    smoothed = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=configuration.label_smoothing, reduction=None
    )
    match configuration.loss:
        case "focal":
            return keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True)
        case "logit_adjusted":
            return lambda true, said: smoothed(true, said + np.log(PRIOR).astype(np.float32))
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=configuration.label_smoothing)


@pytest.mark.parametrize(
    ("changes", "class_weights"),
    [
        ({"optimizer": "adam", "normalization": "batch", "input_scaling": "standardized"}, EVEN),
        ({"optimizer": "adamw", "weight_decay": 0.1, "input_scaling": "symmetric"}, np.array([0.5, 1.0, 2.5])),
        (
            {"optimizer": "sgd", "weight_decay": 0.1, "label_smoothing": 0.2, "normalization": "group"},
            np.array([2.0, 1.0, 0.5]),
        ),
        ({"optimizer": "adam", "loss": "focal"}, np.array([0.5, 1.0, 2.5])),
        ({"optimizer": "sgd", "loss": "logit_adjusted", "label_smoothing": 0.1}, EVEN),
    ],
    ids=["adam-batchnorm", "adamw-weighted", "sgd-smoothed-weighted", "focal-weighted", "adjusted-smoothed"],
)
def test_training_is_what_compile_and_fit_do(make_engine, images, labels, changes, class_weights) -> None:
    engine = make_engine(**changes)
    configuration, rate = engine.configuration, 0.01
    rows = np.random.default_rng(1).permutation(len(labels))[:48]
    engine.begin(3, rows, given(class_weights, margin=np.log(PRIOR) if "adjusted" in configuration.loss else None))

    theirs = network.build_network(configuration, 8, 3, 3, 100)
    theirs.set_weights(engine.network.get_weights())
    theirs.compile(
        optimizer=keras_optimizer(configuration.optimizer, rate, configuration.weight_decay),
        loss=keras_loss(configuration),
        metrics=[keras.metrics.CategoricalCrossentropy(name="plain", from_logits=True)],
        jit_compile=False,
    )
    x = scaled(images, rows, configuration.input_scaling)
    history = theirs.fit(
        x[rows],
        np.eye(3, dtype=np.float32)[labels[rows]],
        batch_size=BATCH,
        epochs=EPOCHS,
        shuffle=False,
        class_weight=dict(enumerate(class_weights)),
        verbose=0,
    ).history

    steps = rows.reshape(-1, BATCH).astype(np.int32)
    rates = np.full(len(steps), rate, np.float32)
    ours = [engine.train_epoch(steps, rates, seed=epoch).loss for epoch in range(EPOCHS)]
    np.testing.assert_allclose(ours, history["plain"], atol=1e-5)
    # A bias before BatchNorm has no gradient but rounding, which adam makes steps of: kernels only.
    for one, other in zip(network.weight_layers(engine.network), network.weight_layers(theirs), strict=True):
        np.testing.assert_allclose(one.kernel.numpy(), other.kernel.numpy(), atol=1e-4)
    theirs.set_weights(engine.network.get_weights())
    np.testing.assert_allclose(engine.logits(np.arange(len(labels))), theirs.predict(x, verbose=0), atol=1e-5)


@pytest.fixture(scope="module")
def everything_on(make_engine):
    """An engine with all that is drawn, gathered or estimated."""
    return make_engine(**EVERYTHING)


@pytest.fixture(scope="module")
def plain(make_engine):
    """An engine with nothing of that, and tiny initial weights."""
    return make_engine(initializer="random_uniform", width=8)


def one_fit(engine, labels: np.ndarray, seed: int, train: np.ndarray, **more: Any) -> FitOutcome:
    val = np.setdiff1d(np.arange(len(labels)), train)
    context = FitContext(
        epochs=EPOCHS, updates_per_epoch=len(train) // BATCH, imbalance=3, batchnorm=True, prior_entropy=1.0
    )
    job = fit_job(configuration=engine.configuration, context=context, train=train, val=val, seed=seed, epochs=EPOCHS)
    return run_fit(engine, job, labels, Watch(context), MetricScorer(), **more)


def same(one: FitOutcome, other: FitOutcome) -> bool:
    return repr(one.checks) == repr(other.checks) and np.array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize("parts", [2, 8])
def test_a_batch_in_parts_trains_as_the_whole_one(make_engine, labels, parts) -> None:
    """Without BatchNorm, dropout and augmentation, which see each part by itself."""
    changes = {"label_smoothing": 0.1, "class_weighting": "balanced", "normalization": "group"}
    fold = np.arange(len(labels))[::2]
    whole, split = make_engine(**changes), make_engine(microbatches=parts, **changes)
    one, other = (one_fit(engine, labels, 1, fold) for engine in (whole, split))
    np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-5)
    assert [check.train_loss for check in other.checks] == pytest.approx(
        [check.train_loss for check in one.checks], rel=1e-5
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_fit_that_was_cut_off_ends_bit_by_bit_as_if_it_had_not_been(make_engine, labels, tmp_path, optimizer) -> None:
    """Cut off twice, each time gone on with by a network that was built and traced anew."""
    fold, checkpoints, cuts = np.arange(len(labels))[::2], CheckpointStore(tmp_path / "paused" / "fit.npz"), [1, 3]

    def heed(epoch: int) -> None:
        if cuts and epoch == cuts[0]:
            cuts.pop(0)
            raise Interrupted

    changes = {**EVERYTHING, "optimizer": optimizer}
    outcome = None
    while outcome is None:
        with contextlib.suppress(Interrupted):
            outcome = one_fit(make_engine(**changes), labels, 1, fold, on_epoch=heed, checkpoints=checkpoints)
    undisturbed = one_fit(make_engine(**changes), labels, 1, fold)
    assert not cuts
    assert same(outcome, undisturbed)
    np.testing.assert_array_equal(outcome.layers, undisturbed.layers)


def test_nothing_leaks_from_fit_to_fit_and_one_trace_serves_all(everything_on, make_engine, labels) -> None:
    """Fit A, then others (seed, fold, fold size), then A again, then A on a new engine: bit by bit the same."""
    engine, rows = everything_on, np.arange(len(labels))
    fold, other, smaller = rows[rows % 5 > 0], rows[rows % 5 != 1], rows[rows % 3 > 0]
    first = one_fit(engine, labels, 1, fold)
    assert first.epochs == EPOCHS
    assert not same(first, one_fit(engine, labels, 2, fold))
    assert not same(first, one_fit(engine, labels, 1, other))
    one_fit(engine, labels, 3, smaller)
    assert same(first, one_fit(engine, labels, 1, fold))
    for few in (7, 8, 40):
        engine.logits(rows[:few])
    assert (engine.traces, engine.evaluation.traces) == (1, 1)
    assert same(first, one_fit(make_engine(**EVERYTHING), labels, 1, fold))


def test_a_fit_that_exploded_leaves_nothing_behind(everything_on, labels) -> None:
    engine, rows = everything_on, np.arange(len(labels))
    before = one_fit(engine, labels, 1, rows[rows % 5 > 0])
    engine.begin(1, rows, given())
    steps = rows[:56].reshape(-1, BATCH).astype(np.int32)
    sums = [engine.train_epoch(steps, np.full(len(steps), np.inf, np.float32), 0) for _ in range(2)]
    assert not sums[-1].finite
    assert not np.isfinite(engine.logits(rows)).all()
    assert same(before, one_fit(engine, labels, 1, rows[rows % 5 > 0]))


def test_a_fit_learns(everything_on, labels) -> None:
    rows = np.arange(len(labels))
    outcome = one_fit(everything_on, labels, 1, rows[rows % 5 > 0])
    first, last = outcome.checks[0], outcome.checks[-1]
    assert last.train_loss < first.train_loss
    assert all(check.finite and check.first_gradient > 0 and check.update_ratio > 0 for check in outcome.checks)


def test_the_first_loss_is_the_entropy_of_the_prior(plain, labels) -> None:
    """With tiny weights the logits are the output bias."""
    engine = plain
    shares = np.array([30, 20, 10]) / 60
    engine.begin(0, np.arange(60), given(prior=shares))
    steps = np.arange(60, dtype=np.int32)[:56].reshape(-1, BATCH)
    nothing = engine.train_epoch(steps, np.zeros(len(steps), np.float32), 0)
    expected = -np.log(shares)[labels[steps.ravel()]].mean()
    assert nothing.loss == pytest.approx(expected, abs=5e-3)
    assert nothing.update_ratio == 0
    assert nothing.finite


def test_augmentation_and_dropout_change_training_and_not_evaluation(everything_on) -> None:
    engine = everything_on
    rows = np.arange(48)
    steps, still = rows.reshape(-1, BATCH).astype(np.int32), np.zeros(6, np.float32)
    engine.begin(0, rows, given())
    one, other = (engine.train_epoch(steps, still, seed).loss for seed in (1, 2))
    assert one != other
    np.testing.assert_array_equal(engine.logits(rows), engine.logits(rows))


def test_pixels_stay_bytes_on_the_device(everything_on) -> None:
    assert everything_on._inputs.images.dtype == tf.uint8


@pytest.mark.parametrize("count", [1, 5, 60, 300])
def test_evaluation_gives_each_row_its_own_answer_in_its_place(everything_on, labels, count) -> None:
    everything_on.begin(0, np.arange(60), given())
    rows = np.random.default_rng(0).integers(0, 60, count)
    got = everything_on.logits(rows)
    assert got.shape == (count, 3)
    np.testing.assert_allclose(got, everything_on.logits(np.arange(60))[rows], atol=1e-6)


def test_other_images_than_those_trained_on(everything_on, images) -> None:
    everything_on.begin(0, np.arange(60), given())
    others = tf.constant(images[30:50])
    got = everything_on.logits_of(others, np.arange(20))
    np.testing.assert_allclose(got, everything_on.logits(np.arange(30, 50)), atol=1e-6)


def test_batchnorm_reestimation_is_numpys_mean_over_the_batches(everything_on, images, labels) -> None:
    engine = everything_on
    engine.begin(0, np.arange(48), given())
    steps = np.random.default_rng(0).permutation(48).reshape(-1, BATCH).astype(np.int32)
    engine.train_epoch(steps, np.full(len(steps), 0.05, np.float32), 0)
    loss = engine.reestimate_batchnorm(steps)

    x = scaled(images, np.arange(48), "standardized")
    statistics: list[list[np.ndarray]] = []
    losses = []
    for batch in steps:
        values, seen = x[batch], []
        for layer in engine.network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                axes = tuple(range(values.ndim - 1))
                mean, variance = values.mean(axes), values.var(axes)
                seen += [mean, variance]
                values = (values - mean) / np.sqrt(variance + layer.epsilon) * layer.gamma.numpy() + layer.beta.numpy()
            else:
                values = np.asarray(layer(values, training=False))
        statistics.append(seen)
        log_p = values - np.log(np.exp(values).sum(1, keepdims=True))
        losses.append(-log_p[np.arange(BATCH), labels[batch]].mean())
    ours = [
        v.numpy() for layer in network.batchnorms(engine.network) for v in (layer.moving_mean, layer.moving_variance)
    ]
    expected = [np.mean([seen[place] for seen in statistics], axis=0) for place in range(len(ours))]
    assert len(ours) == 4
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert loss == pytest.approx(np.mean(losses), abs=1e-4)
    assert engine.batchnorm
    assert 0.5 <= engine.batchnorm_momentum <= 0.99


def test_steps_that_were_tried_leave_no_trace(make_engine, images) -> None:
    """Weights, optimizer, statistics, dropout: what they change is forgotten, and the network is traced once."""
    rows = np.arange(48).reshape(6, 8).astype(np.int32)

    def trained(engine) -> list[np.ndarray]:
        engine.begin(5, rows.ravel(), given(EVEN))
        engine.train_epoch(rows, np.full(6, 0.01, np.float32), 7)
        return list(engine.state())

    plain, tried = (make_engine(normalization="batch", dropout=0.3, batch_size=8) for _ in range(2))
    assert tried.step_seconds(rows.ravel()) > 0
    for one, other in zip(trained(plain), trained(tried), strict=True):
        np.testing.assert_array_equal(one, other)
    assert tried.traces == 1


def test_without_batchnorm_there_is_nothing_to_reestimate(plain) -> None:
    assert not plain.batchnorm
    assert plain.batchnorm_momentum == 0.0
    assert np.isnan(plain.reestimate_batchnorm(np.zeros((1, BATCH), np.int32)))


def worst_dead_share(engine, rows) -> float:
    return engine.probe_layers(rows).layers[:-1, LAYER_SIGNALS.index("dead_share")].max()


@pytest.mark.parametrize("name", ["plain", "everything_on"])  # without and with a normalization in between
def test_dead_units_are_found_in_any_hidden_layer(request, name) -> None:
    engine, rows = request.getfixturevalue(name), np.arange(0, 60, 2)
    engine.begin(5, rows, given())
    assert worst_dead_share(engine, rows) <= 0.5
    norms = network.batchnorms(engine.network)  # normalization takes the bias before it away: there, use its own
    convolution, dense = ([norm.beta for norm in norms] or [w.bias for w in network.weight_layers(engine.network)])[:2]
    dense.assign(np.where(np.arange(6) < 5, -1000.0, 1000.0))
    assert worst_dead_share(engine, rows) == pytest.approx(5 / 6)
    convolution.assign(np.full(convolution.shape, -1000.0))
    assert worst_dead_share(engine, rows) == 1.0


def test_layers_tell_what_keras_and_numpy_find(plain, images, labels) -> None:
    rows, batch = np.arange(0, 60, 3), np.arange(BATCH, dtype=np.int32)
    plain.begin(7, rows, given())
    layers = network.weight_layers(plain.network)
    before = [layer.kernel.numpy() for layer in layers]
    values = scaled(images, rows, plain.configuration.input_scaling)
    with tf.GradientTape() as tape:
        logits = plain.network(values[batch])
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels[batch], logits))
    slopes = [g.numpy() for g in tape.gradient(loss, [layer.kernel for layer in layers])]
    seen = plain.train_epoch(batch[None], np.full(1, 1e-2, np.float32), 0, rows, gradients=True).probe
    after = [layer.kernel.numpy() for layer in layers]
    activations = [layer for layer in plain.network.layers if isinstance(layer, keras.layers.Activation)]
    ends = [layer.output for layer in activations] + plain.network.outputs
    outputs = [np.asarray(y) for y in keras.Model(plain.network.inputs, ends)([values[rows]])]
    expected = [
        [
            (y == 0).all(tuple(range(y.ndim - 1))).mean(),
            (y == 0).mean(),
            y.std(),
            np.sqrt((new**2).mean()),
            np.linalg.norm(new - old) / np.linalg.norm(new),
            np.abs(slope).mean(),
            (slope == 0).mean(),
        ]
        for y, old, new, slope in zip(outputs, before, after, slopes, strict=True)
    ]
    np.testing.assert_allclose(seen.layers, np.array(expected), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(seen.logits, outputs[-1], rtol=1e-4, atol=1e-6)


def test_looking_changes_nothing_and_needs_no_warm_batchnorm(everything_on, images) -> None:
    rows = np.arange(0, 60, 2)
    everything_on.begin(5, rows, given())
    before = [variable.numpy() for variable in everything_on.network.variables]
    first, again = everything_on.probe_layers(rows), everything_on.probe_layers(rows)
    for variable, value in zip(everything_on.network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(first.logits, again.logits)
    in_training = [e for e in everything_on.network.layers if not isinstance(e, keras.layers.Dropout)]
    x = scaled(images, rows, "standardized")[rows]
    for layer in in_training:
        x = layer(x, training=layer in network.batchnorms(everything_on.network))
    np.testing.assert_allclose(first.logits, x, rtol=1e-3, atol=1e-4)


def test_parameters_are_counted_as_keras_counts_them(everything_on) -> None:
    assert everything_on.parameters == sum(w.numpy().size for w in everything_on.network.trainable_weights)
