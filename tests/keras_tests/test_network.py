"""What every network has to hold, whatever is chosen; and that a reset network is a new one."""

from itertools import product

import keras
import numpy as np
import pytest

from search.training import network
from spaces.config import ACTIVATIONS, HEADS, INITIALIZERS, NORMALIZATIONS
from spaces.network_size import size

PRIOR = np.array([0.5, 0.3, 0.2])
SHAPES = [
    {"depth": depth, "dense_ratio": ratio, "head": head}
    for depth, ratio, head in product((1, 2, 5), (0.0, 0.5, 1.0), HEADS)
    if not (head == "flatten" and round(depth * ratio) == 0)
]
CHOICES = [
    *({"initializer": name} for name in INITIALIZERS),
    *({"activation": name} for name in ACTIVATIONS),
    *({"normalization": name, "dropout": 0.5} for name in NORMALIZATIONS),
    {"kernel_size": 5, "width": 6, "normalization": "group"},
    {"depth": 12, "dense_ratio": 0.25, "width": 2},
]


def build(configuration, side: int = 8, channels: int = 3, dtype: str = "float32"):
    built = network.build_network(configuration, side, channels, len(PRIOR), updates=100, dtype=dtype)
    network.reset(built, 1, PRIOR)
    return built


def kernels(built) -> list[np.ndarray]:
    return [layer.kernel.numpy() for layer in network.weight_layers(built)]


def weights(built) -> list[np.ndarray]:
    return [variable.numpy() for variable in built.variables]


@pytest.mark.parametrize("changes", [*SHAPES, *CHOICES], ids=lambda changes: "-".join(map(str, changes.values())))
def test_every_network(make_configuration, changes) -> None:
    configuration = make_configuration(**changes)
    built = build(configuration)
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
    logits = np.asarray(built(x))
    assert logits.shape == (5, 3)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).max() > 0, "different images, different answers"
    layers = network.weight_layers(built)
    assert len(layers) - 1 == configuration.depth
    assert sum(isinstance(layer, keras.layers.Dense) for layer in layers[:-1]) == configuration.n_dense
    parameters = sum(v.numpy().size for v in built.variables if v.name != "seed_generator_state")
    assert parameters == size(configuration, 8, 3, 3)
    np.testing.assert_allclose(built.get_layer(network.OUTPUT).bias.numpy(), np.log(PRIOR), rtol=1e-6)
    for layer in layers[:-1]:
        assert not layer.bias.numpy().any()


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (9, 3), (31, 1), (3, 3)])
def test_any_image_size(make_configuration, side, channels) -> None:
    configuration = make_configuration(depth=4, dense_ratio=0.25, head="flatten")
    built = build(configuration, side, channels)
    assert built(np.zeros((2, side, side, channels), np.float32)).shape == (2, 3)
    parameters = sum(v.numpy().size for v in built.variables if v.name != "seed_generator_state")
    assert parameters == size(configuration, side, channels, 3)


def test_in_mixed_precision_weights_and_logits_stay_float32(make_configuration) -> None:
    built = build(make_configuration(normalization="batch"), dtype="mixed_bfloat16")
    assert {str(variable.dtype) for variable in built.trainable_variables} == {"float32"}
    assert built.layers[0].compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(built(np.zeros((2, 8, 8, 3), np.float32)).dtype) == "float32"


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(make_configuration, initializer) -> None:
    built = build(make_configuration(initializer=initializer, normalization="batch", dropout=0.3))
    first = weights(built)
    network.reset(built, 2, PRIOR)
    assert not any(np.array_equal(a, b) for a, b in zip(first, weights(built), strict=True) if a.ndim > 1)
    for variable in built.variables:  # as after a training
        variable.assign(np.ones(variable.shape))
    network.reset(built, 1, PRIOR)
    for before, after in zip(first, weights(built), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_network_built_anew_gets_the_same_weights(make_configuration) -> None:
    configuration = make_configuration(depth=3, normalization="group", dropout=0.3)
    for one, other in zip(weights(build(configuration)), weights(build(configuration)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_two_layers_start_alike(make_configuration) -> None:
    """Layers of one shape would otherwise compute the same."""
    built = build(make_configuration(depth=6, dense_ratio=1.0, dense_units=9))
    square = [kernel for kernel in kernels(built) if kernel.shape == (9, 9)]
    assert len(square) == 5
    assert len({kernel.tobytes() for kernel in square}) == 5


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_weights_are_distributed_as_keras_distributes_them(make_configuration, initializer) -> None:
    """The oracle is a layer that Keras itself initializes."""
    built = build(make_configuration(initializer=initializer, width=64, dense_units=256))
    for layer, shape in zip(network.weight_layers(built)[:-1], [(8, 8, 3), (64,)], strict=True):
        theirs = type(layer).from_config({**layer.get_config(), "kernel_initializer": initializer, "name": None})
        theirs.build((None, *shape))
        ours, oracle = layer.kernel.numpy(), theirs.kernel.numpy()
        assert ours.shape == oracle.shape
        assert not np.array_equal(ours, oracle)
        assert ours.std() == pytest.approx(oracle.std(), rel=0.08)
        assert abs(ours.mean()) < 4 * oracle.std() / np.sqrt(ours.size)
        assert np.abs(ours).max() == pytest.approx(np.abs(oracle).max(), rel=0.35)


def test_uniform_is_keras_own_five_hundredths(make_configuration) -> None:
    kernel = kernels(build(make_configuration(initializer="random_uniform", dense_units=256)))[1]
    assert 0.049 < np.abs(kernel).max() <= 0.05


def test_batchnorm_takes_its_momentum_from_the_updates(make_configuration) -> None:
    configuration = make_configuration(normalization="batch")
    short, long = (network.build_network(configuration, 8, 3, 3, updates) for updates in (60, 1000))
    assert {layer.momentum for layer in network.batchnorms(short)} == {0.5}
    assert network.batchnorms(long)[0].momentum == pytest.approx(0.954993, abs=1e-6)
    assert len(network.batchnorms(long)) == configuration.depth


def test_filters_double_with_each_pooling_up_to_eight_times(make_configuration) -> None:
    built = network.build_network(make_configuration(depth=7, dense_ratio=0.0, width=2), 64, 3, 3, 100)
    assert [layer.filters for layer in network.weight_layers(built)[:-1]] == [2, 4, 8, 16, 16, 16, 16]


@pytest.mark.parametrize("delivered", [False, True])
def test_a_pyramid_sees_every_pixel_of_a_large_map(make_configuration, delivered) -> None:
    """Maps larger than its grid are halved first: the brightest pixel is never lost."""
    chosen = make_configuration(head="pyramid_2")
    layers = network._head(chosen, 112, 1, "float32", any_size=False, delivered=delivered)
    for place in np.random.default_rng(0).integers(0, 112, (20, 2)):
        maps = np.zeros((1, 112, 112, 1), np.float32)
        maps[0, place[0], place[1], 0] = 1
        for layer in layers:
            maps = layer(maps)
        assert float(np.asarray(maps)[0, 0]) == 1
