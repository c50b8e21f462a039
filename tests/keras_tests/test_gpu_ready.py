"""What a GPU would be given, read off the traced graphs: TensorFlow's list of GPU kernels is there without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from search.settings import TrainingProtocol
from search.training import device
from search.training.engine import Engine
from search.training.pyramid import delivered
from search.training.sampling import balance
from spaces.config import ACTIVATIONS, CLASS_WEIGHTINGS, HEADS, NORMALIZATIONS, Configuration
from spaces.image_format import ImageFormat
from spaces.losses import LOSSES
from spaces.optimizers import OPTIMIZERS
from tests.factories import configuration

SIDE, N = 32, 24
PARTS = {
    "head": HEADS,
    "activation": ACTIVATIONS,
    "loss": tuple(LOSSES),
    "optimizer": tuple(OPTIMIZERS),
    "normalization": NORMALIZATIONS,
    "class_weighting": CLASS_WEIGHTINGS,
}
CASES: list[dict[str, Any]] = [
    *({name: values[case % len(values)] for name, values in PARTS.items()} for case in range(len(HEADS))),
    {"label_smoothing": 0.1, "dropout": 0.3, "horizontal_flip": True, "shift": 0.1, "rotation": 10.0},
    {"backbone": "mobilenet_025", "head": "average", "trainable": "last_block", "statistics": "adapted"},
    {"backbone": "mobilenet_025", "head": "max", "trainable": "all", "statistics": "kept"},
]
"""Between them all heads, activations, losses, optimizers and normalizations."""

REFUSED = {
    "AdjustContrastv2",
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "DenseBincount",
    "Dilation2DBackpropFilter",
    "Dilation2DBackpropInput",
    "MaxPoolGradWithArgmax",
    "ResizeNearestNeighborGrad",
    "SparseTensorDenseMatMul",
}
"""Operations that raise on a GPU where results have to repeat: TensorFlow 2.21 says so of each in its messages."""

CONTROL = {"Placeholder", "NoOp", "While", "StatelessWhile", "If", "StatelessIf", "PartitionedCall"}


@pytest.fixture(scope="module")
def pixels() -> Any:
    """As they lie on a GPU."""
    return tf.Variable(np.zeros((N, SIDE, SIDE, 3), np.uint8), trainable=False)


def engine(pixels: Any, chosen: Configuration, precision: str = "float32", **options: Any) -> Engine:
    protocol = TrainingProtocol(
        epochs=3, images=ImageFormat(image_size=SIDE, channels=3), classes=3, precision=precision
    )
    labels = tf.constant(np.repeat([0, 1, 2], N // 3), tf.int32)
    return Engine(chosen, protocol, pixels, labels, 100, **options)


def nodes(function: Any) -> Iterator[Any]:
    """Of the traced function and of all that it calls."""
    graph = function.get_concrete_function().graph.as_graph_def()
    yield from graph.node
    for inner in graph.library.function:
        yield from inner.node_def


@cache
def kernels_of(operation: str) -> list[Any]:
    """Those that run on a GPU; "default" ones do on any device."""
    found = kernels.get_registered_kernels_for_op(operation).kernel
    return [kernel for kernel in found if kernel.device_type in ("GPU", "DEFAULT")]


def types_of(node: Any) -> set[int]:
    return {value.type for value in node.attr.values() if value.type}


def runs_on_a_gpu(node: Any) -> bool:
    def takes(kernel: Any) -> bool:
        return all(
            set(node.attr[one.name].list.type or [node.attr[one.name].type]) <= set(one.allowed_values.list.type)
            for one in kernel.constraint
        )

    return any(takes(kernel) for kernel in kernels_of(node.op))


def stays_behind(node: Any) -> bool:
    """Whether it runs on the host, and has to do with more than sizes, places and switches, which lie there anyway."""
    counts = types_of(node) <= {tf.int32.as_datatype_enum, tf.bool.as_datatype_enum}
    return node.op not in CONTROL and not counts and not runs_on_a_gpu(node)


def test_bytes_of_a_tensor_are_picked_on_the_host_those_of_a_variable_on_the_gpu(pixels: Any) -> None:
    rows = tf.TensorSpec([None], tf.int32)
    from_tensor = tf.function(lambda images, rows: tf.gather(images, rows)).get_concrete_function(
        tf.TensorSpec(pixels.shape, tf.uint8), rows
    )
    from_variable = tf.function(lambda rows: tf.gather(pixels, rows)).get_concrete_function(rows)
    behind = [any(map(stays_behind, one.graph.as_graph_def().node)) for one in (from_tensor, from_variable)]
    assert behind == [True, False]


def test_the_gradient_of_a_resize_by_the_nearest_pixel_is_refused() -> None:
    @tf.function(input_signature=[tf.TensorSpec([2, 3, 3, 1])])
    def slope(x: Any) -> Any:
        return tf.gradients(delivered(2, 1)(x), x)

    assert REFUSED & {node.op for node in nodes(slope)}


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_all_of_a_training_runs_on_the_gpu_and_repeats(pixels: Any, changes: dict[str, Any]) -> None:
    made = engine(pixels, configuration(batch_size=8, **changes))
    for function in (made._train, made.evaluation.of_own, made.statistics.reestimate):
        found = list(nodes(function))
        assert not [(node.op, types_of(node)) for node in found if stays_behind(node)]
        assert not REFUSED & {node.op for node in found}
        norms = [node for node in found if node.op.startswith("FusedBatchNormGrad")]
        assert all(node.attr["is_training"].b for node in norms)


def test_images_of_every_size_too(pixels: Any) -> None:
    protocol = TrainingProtocol(
        epochs=3, images=ImageFormat(image_size=SIDE, channels=3, shapes=((32, 16), (32, 32))), classes=3
    )
    labels, shape_ids = tf.constant(np.repeat([0, 1, 2], N // 3), tf.int32), np.arange(N) % 2
    for head in ("flatten", "pyramid_4"):
        made = Engine(configuration(head=head, batch_size=8), protocol, pixels, labels, 100, 1, shape_ids)
        found = list(nodes(made._train))
        assert not [(node.op, types_of(node)) for node in found if stays_behind(node)]
        assert not REFUSED & {node.op for node in found}


def test_no_step_waits_for_the_device_to_decide(pixels: Any) -> None:
    """Inside the loop over steps whole numbers decide, which are on the host: nothing is fetched to be looked at."""
    made = engine(pixels, configuration(batch_size=8))
    graph = made._train.get_concrete_function().graph.as_graph_def()
    loop = next(node for node in graph.node if node.op in ("While", "StatelessWhile"))
    body = next(f for f in graph.library.function if f.signature.name == loop.attr["body"].func.name)
    by_name = {node.name: node for node in body.node_def}
    decided = [node for node in body.node_def if node.op in ("If", "StatelessIf")]
    assert len(decided) == 1
    for node in decided:
        source = by_name[node.input[0].split(":")[0]]
        assert (source.op, source.attr["T"].type) == ("Equal", tf.int32.as_datatype_enum)


def test_pixels_in_a_variable_train_as_a_tensor_does(tmp_path, monkeypatch, images, labels, make_configuration) -> None:
    np.save(tmp_path / "pixels.npy", images)
    monkeypatch.setattr(device, "_GPU", "/CPU:0")
    loaded = device.load_pixels(tmp_path / "pixels.npy", 10**9)
    assert isinstance(loaded, tf.Variable)
    assert not isinstance(device.images_on_device(images), tf.Variable), "without a GPU"
    said = []
    for held in (loaded, device.tensor(images)):
        protocol = TrainingProtocol(epochs=3, images=ImageFormat(image_size=8, channels=3), classes=3)
        made = Engine(make_configuration(), protocol, held, device.tensor(labels.astype(np.int32)), 100)
        said.append(one_epoch(made, len(labels)))
    np.testing.assert_array_equal(*said)


def one_epoch(made: Engine, count: int) -> np.ndarray:
    rows = np.arange(count, dtype=np.int32)
    made.begin(0, rows.astype(np.int64), balance([30, 20, 10]))
    made.train_epoch(rows[: count // 8 * 8].reshape(-1, 8), np.full(count // 8, 1e-3, np.float32), 0)
    return made.logits(rows.astype(np.int64))


@pytest.mark.parametrize(("precision", "computed"), [("float32", tf.float32), ("mixed_bfloat16", tf.bfloat16)])
def test_mixed_precision_multiplies_in_sixteen_bits(pixels: Any, precision: str, computed: tf.DType) -> None:
    made = engine(pixels, configuration(batch_size=8), precision)
    products = [node for node in nodes(made._train) if node.op in ("Conv2D", "Conv2DBackpropFilter")]
    assert products
    assert {node.attr["T"].type for node in products} == {computed.as_datatype_enum}
