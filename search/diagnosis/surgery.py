"""Application of changes to a built Keras network; the user's source is not modified."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import keras

from search.diagnosis import changes as c
from search.diagnosis.anatomy import ACTIVATION_LAYERS
from search.diagnosis.layer_recording import Leaf, kernel_of, leaves

Kind = TypeVar("Kind")


class NotApplicableError(Exception):
    """A change can't be applied to this network."""


class _Passing(keras.layers.Layer):  # type: ignore[misc]  # Keras is not typed
    """Hands its input on; called with whatever the layer in its place was called with."""

    def call(self, inputs: Any, **others: Any) -> Any:
        return inputs


class _Activating(keras.layers.Layer):  # type: ignore[misc]  # Keras is not typed
    """An activation in place of an activation layer, whatever that one was called with (Softmax takes a mask)."""

    def __init__(self, activation: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.activation = keras.activations.get(activation)

    def call(self, inputs: Any, **others: Any) -> Any:
        return self.activation(inputs)


def changed(model: Any, edits: Iterable[c.Edit]) -> Any:
    """Apply edits to a network and compile it.

    Args:
        model: compiled Keras model; may be changed.
        edits: edits to apply; those of input, labels, class weights and epochs are ignored here.

    Returns:
        The changed model: `model` itself, or a new one if layers are added, removed or widened.

    Raises:
        NotApplicableError: Keras raised, for instance because the model is subclassed.
    """
    edits = tuple(edits)
    try:
        network = _rebuilt(model, edits)
        all_leaves = leaves(network)
        for edit in edits:
            _edit(edit, network, all_leaves)
        compile_like(network, model, edits)
    except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError, KeyError) as error:
        raise NotApplicableError(str(error)) from error
    return network


def _of(edits: Iterable[c.Edit], kind: type[Kind]) -> list[Kind]:
    return [edit for edit in edits if isinstance(edit, kind)]


def _edit(edit: c.Edit, network: Any, all_leaves: tuple[Leaf, ...]) -> None:
    """Apply an edit that needs no new layers."""
    match edit:
        case c.SetActivation(names, activation):
            for leaf in all_leaves:
                if leaf.key in names and hasattr(leaf.layer, "activation"):
                    leaf.layer.activation = keras.activations.get(activation)
        case c.SetInitializer(names, initializer):
            for leaf in all_leaves:
                if leaf.key in names:
                    _initialize(leaf.layer, initializer)
        case c.ScalePenalties(factor):
            for leaf in all_leaves:
                _penalize(leaf.layer, factor)
        case c.LimitDropout(rate):
            for leaf in all_leaves:
                if "Dropout" in type(leaf.layer).__name__ and leaf.layer.rate > rate:
                    leaf.layer.rate = rate
        case c.Unfreeze(names):
            if names is None:
                network.trainable = True
            for leaf in all_leaves:
                if names is None or leaf.key in names:
                    leaf.layer.trainable = True
        case c.SetBatchNormMomentum(value):
            for leaf in all_leaves:
                if isinstance(leaf.layer, keras.layers.BatchNormalization) and leaf.layer.trainable:
                    leaf.layer.momentum = value


def _initialize(layer: Any, name: str) -> None:
    kernel = kernel_of(layer)
    if kernel is None:
        return
    initializer = keras.initializers.get(name)
    kernel.assign(initializer(kernel.shape, kernel.dtype))
    layer.kernel_initializer = initializer
    if getattr(layer, "bias", None) is not None:
        layer.bias.assign(keras.ops.zeros_like(layer.bias))


def _penalize(layer: Any, factor: float) -> None:
    """Scale the penalties by `factor`, on the variables themselves, where Keras looks for them."""
    for variable in layer.variables:
        regularizer = getattr(variable, "regularizer", None)
        if regularizer is None:
            continue
        if factor == 0 or not hasattr(regularizer, "get_config"):
            variable.regularizer = None
        else:
            scaled = {k: v * factor for k, v in regularizer.get_config().items() if isinstance(v, (int, float))}
            variable.regularizer = type(regularizer).from_config({**regularizer.get_config(), **scaled})
    if factor == 0:
        layer.activity_regularizer = None


def _rebuilt(model: Any, edits: tuple[c.Edit, ...]) -> Any:
    """Rebuild the model with layers removed, inserted or widened: a clone with the same weights where shapes stayed."""
    keys = {id(leaf.layer): leaf.key for leaf in leaves(model)}
    bypassed = {name for edit in _of(edits, c.RemoveLayers) for name in edit.layers}
    normalized = {name: edit.momentum for edit in _of(edits, c.InsertBatchNorm) for name in edit.layers}
    widened = {name: edit.units for edit in _of(edits, c.SetUnits) for name in edit.layers}
    swapped = {
        leaf.key: edit.activation
        for edit in _of(edits, c.SetActivation)
        for leaf in leaves(model)
        if leaf.key in edit.layers and type(leaf.layer).__name__ in ACTIVATION_LAYERS
    }
    if not (bypassed or normalized or widened or swapped):
        return model
    made: list[tuple[Any, Any]] = []

    def clone(layer: Any) -> Any:
        key = keys.get(id(layer), "")
        if key in bypassed:
            return _Passing(name=layer.name)
        if key in swapped:
            return _Activating(swapped[key], name=layer.name)
        if isinstance(layer, keras.layers.Lambda):
            return layer  # holds no weights, and its function can't be written down
        settings = layer.get_config()
        if key in widened:
            settings["units" if "units" in settings else "filters"] = widened[key]
        if key not in normalized:
            new = type(layer).from_config(settings)
            made.append((layer, new))
            return new
        activation = layer.activation if hasattr(layer, "activation") else None
        if "activation" in settings:
            settings["activation"] = "linear"
        new = type(layer).from_config(settings)
        made.append((layer, new))
        parts = [new, keras.layers.BatchNormalization(momentum=normalized[key])]
        if activation is not None and activation is not keras.activations.linear:
            parts.append(keras.layers.Activation(activation))
        return keras.Sequential(parts)

    network = keras.models.clone_model(
        keras.Model(model.inputs[0], model.outputs[0]), clone_function=clone, recursive=True
    )
    for old, new in made:
        pairs = list(zip(old.variables, new.variables, strict=False))
        if len(old.variables) == len(new.variables) and all(a.shape == b.shape for a, b in pairs):
            for a, b in pairs:
                b.assign(a)
    return network


def compile_like(network: Any, model: Any, edits: tuple[c.Edit, ...] = ()) -> None:
    """Compile a network with the loss of another model and a new optimizer of its kind.

    Args:
        network: network to compile.
        model: compiled model that gives optimizer and loss.
        edits: edits of learning rate, clipping, penalties and loss to apply; others are ignored.
    """
    network.compile(optimizer=_optimizer(model.optimizer, edits), loss=_loss(model.loss, edits), jit_compile=False)


def _optimizer(optimizer: Any, edits: tuple[c.Edit, ...]) -> Any:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    settings = dict(inner.get_config())
    for edit in edits:
        match edit:
            case c.SetLearningRate(value):
                settings["learning_rate"] = value
            case c.SetClipnorm(norm):
                settings |= {"clipnorm": norm, "clipvalue": None, "global_clipnorm": None}
            case c.ScalePenalties(factor) if settings.get("weight_decay"):
                # AdamW insists on a number.
                settings["weight_decay"] = settings["weight_decay"] * factor
    return type(inner).from_config(settings)


def _loss(loss: Any, edits: tuple[c.Edit, ...]) -> Any:
    for edit in edits:
        match edit:
            case c.SetLoss(name, from_logits):
                function = keras.losses.get(name)
                kind = getattr(keras.losses, "".join(part.capitalize() for part in name.split("_")), None)
                loss = kind(from_logits=from_logits) if from_logits and kind is not None else function
            case c.AverageLoss() if isinstance(loss, keras.losses.Loss):
                loss = type(loss).from_config({**loss.get_config(), "reduction": "sum_over_batch_size"})
    return loss
