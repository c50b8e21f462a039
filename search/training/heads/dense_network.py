"""NumPy copy of a Keras head: its layers, all its weights as one vector, and the signals of its layers."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray
from search.training.heads import layers


class DenseNetwork:
    """A Keras model of dense layers, computed in NumPy.

    All weights are in one vector, and so are their gradients: an optimizer step takes few operations.

    Args:
        model: Keras model from `build_network(..., embedded=True)`; gives the initial weights and receives the trained
            ones.

    Attributes:
        weights: `(weights,)` float32.
        gradients: `(weights,)` float32, written by `backward`.
        is_kernel: `(weights,)` bool, whether each weight belongs to a kernel.
        dense: dense layers, the output layer last.
        batchnorms: batch normalization layers.
        dropouts: dropout layers.

    Raises:
        ValueError: the model has a layer that is not implemented in NumPy.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers: list[layers.Layer] = [_in_numpy(layer) for layer in model.layers]
        self.weights, self.gradients = self._bound_vectors()
        shapes = [shape for layer in self._layers for shape in layer.weight_shapes()]
        self.is_kernel = np.concatenate([np.full(math.prod(shape), len(shape) == 2) for shape in shapes])
        self.dense = [layer for layer in self._layers if isinstance(layer, layers.Dense)]
        self.batchnorms = [layer for layer in self._layers if isinstance(layer, layers.BatchNormalization)]
        self.dropouts = [layer for layer in self._layers if isinstance(layer, layers.Dropout)]

    def _bound_vectors(self) -> tuple[FloatArray, FloatArray]:
        """Vectors of all weights and of all gradients, of which each layer gets its views."""
        size = sum(math.prod(shape) for layer in self._layers for shape in layer.weight_shapes())
        vectors, start = np.zeros((2, size), np.float32), 0
        for layer in self._layers:
            views: list[list[FloatArray]] = [[], []]
            for shape in layer.weight_shapes():
                end = start + math.prod(shape)
                for vector, layer_views in zip(vectors, views, strict=True):
                    layer_views.append(vector[start:end].reshape(shape))
                start = end
            layer.bind(*views)
        return vectors[0], vectors[1]

    @property
    def kernels(self) -> list[FloatArray]:
        """Kernels `(inputs, units)` of the dense layers, the output layer's last."""
        return [layer.kernel for layer in self.dense]

    @property
    def kernel_gradients(self) -> list[FloatArray]:
        """Gradients `(inputs, units)` of `kernels`, from the last `backward`."""
        return [layer.kernel_gradient for layer in self.dense]

    def reset(self) -> None:
        """Copy the Keras model's weights, and reset the moving statistics to mean 0 and variance 1."""
        variables = (variable for layer in self._model.layers for variable in layer.trainable_variables)
        self.weights[:] = np.concatenate([np.asarray(variable).ravel() for variable in variables])
        for norm in self.batchnorms:
            norm.begin()

    def keras_weights(self) -> list[npt.NDArray[Any]]:
        """Copy the weights into the Keras model, and return its `get_weights()`."""
        for layer, numpy_layer in zip(self._model.layers, self._layers, strict=True):
            if isinstance(numpy_layer, layers.Dense):
                layer.set_weights([numpy_layer.kernel, numpy_layer.bias])
            elif isinstance(numpy_layer, layers.BatchNormalization):
                layer.set_weights([numpy_layer.gamma, numpy_layer.beta, *numpy_layer.moving])
            elif isinstance(numpy_layer, layers.GroupNormalization):
                layer.set_weights([numpy_layer.gamma, numpy_layer.beta])
        return self._model.get_weights()  # type: ignore[no-any-return]

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return logits `(batch, K)` of embeddings `(batch, features)`; `training` also prepares `backward`."""
        for layer in self._layers:
            x = layer.forward(x, training=training)
        return x

    def backward(self, gradient: FloatArray) -> None:
        """Write `gradients`, given the gradient `(batch, K)` of the loss by the logits of the last `forward`."""
        for layer in reversed(self._layers):
            gradient = layer.backward(gradient, needs_input_gradient=layer is not self._layers[0])

    def forward_by_batch(self, x: FloatArray) -> FloatArray:
        """Return logits `(batch, K)` of embeddings, without dropout and with BatchNorm by the batch's statistics."""
        for layer in self._layers:
            x = _by_batch(layer, x)
        return x

    def probe(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return `forward_by_batch(x)`, and `output_signals` `(dense layers, 3)` float32 after each activation."""
        signals = []
        for layer in self._layers:
            x = _by_batch(layer, x)
            if isinstance(layer, layers.Activation):
                signals.append(output_signals(x))
        return x, np.array([*signals, output_signals(x)], np.float32)


def _by_batch(layer: layers.Layer, x: FloatArray) -> FloatArray:
    return layer.by_batch(x) if isinstance(layer, layers.BatchNormalization) else layer.forward(x, training=False)


def _in_numpy(layer: Any) -> layers.Layer:
    """The same layer in NumPy, its weights not yet bound."""
    units = layer.input.shape[-1]
    match layer:
        case keras.layers.Dense():
            return layers.Dense(units, layer.units)
        case keras.layers.BatchNormalization():
            return layers.BatchNormalization(units, layer.epsilon, layer.momentum)
        case keras.layers.GroupNormalization():
            return layers.GroupNormalization(units, layer.epsilon, layer.groups)
        case keras.layers.Dropout():
            return layers.Dropout(layer.rate)
        case keras.layers.Activation():
            return layers.Activation(layer.activation.__name__)
        case _:
            raise ValueError(
                f"the layer {type(layer).__name__} of a head is not implemented. Add it to heads/layers.py."
            )


def squared_norm(values: FloatArray) -> float:
    """Return the sum of squares of values of any shape."""
    flat = values.ravel()
    return float(flat @ flat)


def output_signals(x: FloatArray) -> tuple[float, float, float]:
    """Return `dead_share`, `zero_share` and `scale` of outputs `(images, units)`; see `layer_signals`."""
    zero = x == 0
    return float(zero.all(0).mean()), float(zero.mean()), float(x.std())


def weight_signals(before: FloatArray, after: FloatArray, steps: int) -> tuple[float, float]:
    """Return `weight_scale` and `update_ratio` of a kernel, from its values `steps` optimizer steps apart."""
    size, change = (math.sqrt(squared_norm(values)) for values in (after, after - before))
    return size / after.size**0.5, change / (size + 1e-12) / steps


def gradient_signals(gradient: FloatArray) -> tuple[float, float]:
    """Return `gradient` (mean absolute) and `zero_gradients` (share of zeros) of a kernel's gradient."""
    return float(np.abs(gradient).mean()), float((gradient == 0).mean())
