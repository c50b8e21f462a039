"""Optimizer of a configuration: its construction, its step by TensorFlow's fused kernels, and its reset.

Keras' own update passes over the weights a dozen times; on a CPU, with batches of a few images, that is half of a
training step. The fused kernels compute the same formula in one pass. The optimizer stays a plain Keras one, which
holds the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import tensorflow as tf

from search.training.chain import Chain
from spaces.config import Configuration
from spaces.optimizers import OPTIMIZERS, Adam, Momentum

_NOT_DECAYED: Final = ("bias", "gamma", "beta")  # words in the names of weights


def build_optimizer(configuration: Configuration) -> Any:
    """Return the Keras optimizer of a configuration.

    Weight decay does not apply to biases and normalization layers.
    """
    rate, decay = configuration.learning_rate, configuration.weight_decay
    match OPTIMIZERS[configuration.optimizer]:
        case Adam(takes_weight_decay=False) as adam:
            return keras.optimizers.Adam(rate, adam.beta_1, adam.beta_2, adam.epsilon)
        case Adam() as adam:
            optimizer = keras.optimizers.AdamW(rate, decay, adam.beta_1, adam.beta_2, adam.epsilon)
        case Momentum() as sgd:
            optimizer = keras.optimizers.SGD(rate, sgd.momentum, nesterov=True, weight_decay=decay or None)
    optimizer.exclude_from_weight_decay(var_names=list(_NOT_DECAYED))
    return optimizer


class WeightUpdates:
    """Applies a configuration's optimizer to the weights of a network.

    A trainable backbone stays frozen for the first quarter of the steps, while the layers on top of it settle; then it
    is trained with a lower rate of its own.

    Args:
        configuration: gives the optimizer, its weight decay, and the backbone's share of the learning rate.
        chain: the network.
        updates: optimizer steps of a whole fit.
    """

    def __init__(self, configuration: Configuration, chain: Chain, updates: int) -> None:
        self._weights, self._backbone_weights = chain.weights, len(chain.backbone_weights)
        self._backbone_rate, self._frozen_updates = configuration.backbone_rate, updates / 4
        self._optimizer = build_optimizer(configuration)
        self._optimizer.build(self._weights)

    @property
    def variables(self) -> list[Any]:
        """Keras variables of the optimizer's state."""
        return self._optimizer.variables  # type: ignore[no-any-return]

    @property
    def steps(self) -> int:
        """Number of steps since the last reset."""
        return int(self._optimizer.iterations.numpy())

    def reset(self) -> None:
        """Set the optimizer's state and step count to zero."""
        reset(self._optimizer)

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """Do one optimizer step, as part of a TensorFlow graph.

        Args:
            gradients: gradient of each weight in `Chain.weights`, in the same order.
            rate: scalar float32 tensor, learning rate; a backbone's rate is a share of it.
        """
        rates = [rate] * (len(self._weights) - self._backbone_weights)
        if self._backbone_weights:
            steps = tf.cast(self._optimizer.iterations.value, tf.float32)
            learns = tf.cast(steps >= self._frozen_updates, tf.float32)
            rates = [learns * self._backbone_rate * rate] * self._backbone_weights + rates
        apply(self._optimizer, gradients, self._weights, rates)


def apply(optimizer: Any, gradients: Sequence[Any], weights: Sequence[Any], rates: Sequence[Any]) -> None:
    """Do one optimizer step, equal to `optimizer.apply(gradients, weights)` within rounding.

    Args:
        optimizer: optimizer from `build_optimizer`, built on `weights`.
        gradients: gradient of each weight.
        weights: Keras variables to change.
        rates: learning rate of each weight, scalar float32 tensors.
    """
    for weight, rate in zip(weights, rates, strict=True):
        if optimizer.weight_decay and not any(word in weight.name for word in _NOT_DECAYED):
            weight.assign(weight.value * (1.0 - optimizer.weight_decay * rate))
    optimizer.iterations.assign_add(1)
    momentums = _state(optimizer, "momentum")
    if isinstance(optimizer, keras.optimizers.Adam):  # AdamW is one
        step = tf.cast(optimizer.iterations.value, tf.float32)
        powers = [tf.pow(tf.constant(beta, tf.float32), step) for beta in (optimizer.beta_1, optimizer.beta_2)]
        velocities = _state(optimizer, "velocity")
        for gradient, weight, rate, m, v in zip(gradients, weights, rates, momentums, velocities, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.value.handle,
                m=m.value.handle,
                v=v.value.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=optimizer.beta_1,
                beta2=optimizer.beta_2,
                epsilon=optimizer.epsilon,
                grad=gradient,
            )
    else:
        for gradient, weight, rate, m in zip(gradients, weights, rates, momentums, strict=True):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weight.value.handle,
                accum=m.value.handle,
                lr=rate,
                grad=gradient,
                momentum=optimizer.momentum,
                use_nesterov=True,
            )


def _state(optimizer: Any, kind: str) -> list[Any]:
    """The optimizer's variables of one kind, one for each weight, in their order."""
    return [variable for variable in optimizer.variables if variable.name.endswith(f"_{kind}")]


def reset(optimizer: Any) -> None:
    """Set the optimizer's state and step count to zero; the learning rate stays."""
    for variable in optimizer.variables:
        if variable is not optimizer.learning_rate:
            variable.assign(tf.zeros_like(variable.value))
