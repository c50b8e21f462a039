"""Description of a compiled Keras network, read without training it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np

from search.diagnosis.evidence import Anatomy, Compilation, LayerInfo
from search.diagnosis.layer_recording import Step, array, kernel_of, record

ACTIVATION_LAYERS: Final[Mapping[str, str]] = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "PReLU": "leaky_relu",
    "ELU": "elu",
    "Softmax": "softmax",
}
"""Class name of an activation layer -> name of its activation."""

_LOSSES: Final[Mapping[str, str]] = {
    "bce": "binary_crossentropy",
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "kld": "kl_divergence",
    "kldivergence": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "huber_loss": "huber",
    "softmax_cross_entropy_with_logits": "categorical_crossentropy",
    "softmax_cross_entropy_with_logits_v2": "categorical_crossentropy",
    "sparse_softmax_cross_entropy_with_logits": "sparse_categorical_crossentropy",
    "sigmoid_cross_entropy_with_logits": "binary_crossentropy",
    "sigmoid_cross_entropy_with_logits_v2": "binary_crossentropy",
}


def dissect(model: Any, images: np.ndarray) -> Anatomy:
    """Describe a compiled network: its layers in the order in which they are called, its loss and optimizer.

    Args:
        model: compiled Keras model.
        images: `(n, h, w, c)` float32 input of the network; one or two images are enough.
    """
    output, steps = record(model, images)
    called: dict[str, Step] = {}
    for step in steps:
        called.setdefault(step.leaf.key, step)
    layers = tuple(_layer(step) for step in called.values())
    return Anatomy(
        layers=layers,
        compilation=compilation(model),
        output=_output(output, steps),
        outputs=int(output.shape[-1]) if len(output.shape) > 1 else 1,
        trainable=int(sum(math.prod(v.shape) for v in model.trainable_variables)),
        parameters=int(model.count_params()),
    )


def _output(output: Any, steps: tuple[Step, ...]) -> str:
    made = [step.leaf.key for step in steps if step.output is output]
    return made[-1] if made else steps[-1].leaf.key if steps else ""


def activation_name(layer: Any) -> str | None:
    """Return the name of a layer's activation; "linear" if it has none, None if its class takes none."""
    kind = type(layer).__name__
    if kind in ACTIVATION_LAYERS:
        return ACTIVATION_LAYERS[kind]
    if not hasattr(layer, "activation"):
        return None
    return _function_name(layer.activation)


def _function_name(function: Any) -> str:
    if function is None:
        return "linear"
    if isinstance(function, keras.layers.Layer):
        return activation_name(function) or "custom"
    name = str(getattr(function, "__name__", type(function).__name__))
    return name if hasattr(keras.activations, name) else "custom"


def _layer(step: Step) -> LayerInfo:
    layer, leaf = step.leaf.layer, step.leaf
    kind = type(layer).__name__
    kernel, initializer = kernel_of(layer), _initializer(layer)
    shape = tuple(kernel.shape) if kernel is not None else ()
    l1, l2 = _penalty(getattr(kernel, "regularizer", None))
    return LayerInfo(
        name=leaf.key,
        kind=kind,
        path=leaf.path,
        activation=activation_name(layer),
        units=_units(layer, kernel),
        fan_in=_fan_in(kind, shape),
        initializer=_initializer_name(layer) if kernel is not None else None,
        initializer_settings=_plain(initializer.get_config()) if initializer is not None else {},
        l1=l1,
        l2=l2,
        rate=_number(getattr(layer, "rate", None)) if "Dropout" in kind else None,
        momentum=_number(getattr(layer, "momentum", None)) if kind == "BatchNormalization" else None,
        scale=_number(getattr(layer, "scale", None)) if kind == "Rescaling" else None,
        offset=_number(getattr(layer, "offset", None)) if kind == "Rescaling" else None,
        augmentation=_plain(layer.get_config()) if is_augmentation(kind) else {},
        use_bias=bool(getattr(layer, "use_bias", False)),
        trainable=bool(layer.trainable),
        parameters=int(sum(math.prod(v.shape) for v in layer.weights)),
        shape=(None, *(int(n) for n in step.output.shape[1:])),
        inputs=step.sources,
    )


def is_augmentation(kind: str) -> bool:
    """Whether layers of this class name augment images in training."""
    return kind.startswith("Random") or kind in ("GaussianNoise", "MixUp", "CutMix", "AugMix", "RandAugment")


def _units(layer: Any, kernel: Any) -> int | None:
    for name in ("units", "filters"):
        if isinstance(getattr(layer, name, None), int):
            return int(getattr(layer, name))
    return int(kernel.shape[-1]) if kernel is not None else None


def _fan_in(kind: str, shape: tuple[int, ...]) -> int | None:
    if not shape:
        return None
    return math.prod(shape[:-2]) if kind == "DepthwiseConv2D" else math.prod(shape[:-1])


def _initializer(layer: Any) -> Any | None:
    initializer = getattr(layer, "kernel_initializer", None) or getattr(layer, "depthwise_initializer", None)
    return initializer if hasattr(initializer, "get_config") else None


def _initializer_name(layer: Any) -> str | None:
    initializer = _initializer(layer)
    return (
        type(initializer).__name__
        if initializer is not None
        else "custom"
        if hasattr(layer, "kernel_initializer")
        else None
    )


def _penalty(regularizer: Any) -> tuple[float, float]:
    return (_number(getattr(regularizer, "l1", 0.0)) or 0.0, _number(getattr(regularizer, "l2", 0.0)) or 0.0)


def _number(value: Any) -> float | None:
    """Convert a value to a number; None if it is none, or several."""
    try:
        values = np.unique(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        return None
    return float(values[0]) if len(values) == 1 and np.isfinite(values[0]) else None


def _plain(settings: Mapping[str, Any]) -> dict[str, float | str]:
    """Settings that are numbers or words; pairs as their largest magnitude."""
    plain: dict[str, float | str] = {}
    for key, value in settings.items():
        if key in ("name", "dtype", "trainable", "seed", "data_format"):
            continue
        if isinstance(value, str):
            plain[key] = value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            plain[key] = float(value)
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, (int, float)) for v in value):
            plain[key] = float(max(value, key=abs))
    return plain


def compilation(model: Any) -> Compilation:
    """Describe the optimizer and the loss that a Keras model was compiled with."""
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    loss = model.loss
    settings = inner.get_config()
    return Compilation(
        optimizer=type(inner).__name__,
        learning_rate=learning_rate(inner),
        momentum=_number(settings.get("momentum", 0.0)) or 0.0,
        clipnorm=_number(settings.get("clipnorm")),
        clipvalue=_number(settings.get("clipvalue")),
        global_clipnorm=_number(settings.get("global_clipnorm")),
        weight_decay=_number(settings.get("weight_decay")),
        loss=loss_name(loss),
        from_logits=_from_logits(loss),
        blind=_is_blind(loss),
        reduction=str(getattr(loss, "reduction", "sum_over_batch_size")),
    )


def learning_rate(optimizer: Any) -> float:
    """Return the learning rate of a Keras optimizer at step 0, also if it has a schedule."""
    rate = getattr(optimizer, "_learning_rate", None)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return float(array(rate(0)))
    return float(array(optimizer.learning_rate))


def loss_name(loss: Any) -> str:
    """Return the canonical name of a loss, such as "binary_crossentropy"; "custom" if it is not one of Keras'."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    if isinstance(loss, dict) and len(loss) == 1:
        loss = next(iter(loss.values()))
    if isinstance(loss, str):
        name = loss
    elif isinstance(loss, keras.losses.Loss):
        name = _snake(type(loss).__name__)
    else:
        name = str(getattr(loss, "__name__", "custom"))
    name = _LOSSES.get(name.lower(), name if "_" in name or name.islower() else _snake(name))
    name = _LOSSES.get(name, name)
    return name if hasattr(keras.losses, name) or name in _KNOWN else "custom"


_KNOWN: Final = frozenset(
    ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "mean_squared_error",
     "mean_absolute_error", "kl_divergence", "huber", "hinge", "squared_hinge", "categorical_hinge", "poisson",
     "log_cosh", "logcosh", "cosine_similarity", "categorical_focal_crossentropy", "binary_focal_crossentropy")
)  # fmt: skip


def _snake(name: str) -> str:
    if name in ("KLDivergence", "LogCosh"):
        return {"KLDivergence": "kl_divergence", "LogCosh": "log_cosh"}[name]
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _from_logits(loss: Any) -> bool:
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    stated = getattr(loss, "from_logits", False) or getattr(loss, "_fn_kwargs", {}).get("from_logits", False)
    return bool(stated) or _is_blind(loss)


def _is_blind(loss: Any) -> bool:
    """Whether the loss is a function of TensorFlow's on logits: unlike Keras', these don't look behind a softmax."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    return "cross_entropy_with_logits" in str(getattr(loss, "__name__", ""))
