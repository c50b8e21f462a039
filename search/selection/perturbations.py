"""Perturbations: copies of a configuration with one hyperparameter changed, by too little to be another choice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from search.records import PerturbedCopy
from spaces.config import BOUNDS, FIELDS, Configuration, ConfigurationError
from spaces.definitions import Choices, Definition, Fixed, Range
from spaces.space import Space

FACTOR: Final = 1.26
"""Factor by which a hyperparameter that counts by ratio is multiplied or divided: a tenth of a power of ten."""

SHARE: Final = 0.05
"""Share of the searched range by which any other hyperparameter moves."""

COUNT: Final = 10
"""Number of copies that are tried around a configuration."""

_ORDER: Final = (
    "learning_rate",
    "depth",
    "batch_size",
    "dropout",
    "dense_ratio",
    "width",
    "weight_decay",
    "backbone_rate",
    "dense_units",
    "label_smoothing",
    "rotation",
    "shift",
    "zoom",
    "shear",
    "kernel_size",
)
"""Hyperparameters with an order, those first that most often make the difference."""

_BOTH_WAYS: Final = ("learning_rate",)
"""Hyperparameters that are tried up and down before others are tried at all: training breaks down on either side."""

_WITHIN_SPACE: Final = ("batch_size", "kernel_size")
"""Hyperparameters that stay within the searched range: a larger batch may leave too few updates, and a larger kernel
may be wider than the image."""


def perturbed(
    configuration: Configuration, space: Space, count: int, rng: np.random.Generator
) -> tuple[PerturbedCopy, ...]:
    """Copies of a configuration with one hyperparameter changed a little, of as many hyperparameters as possible.

    Only numbers are changed, and only those that the space searches and that mean something for this configuration.
    Those that count by ratio (searched on a logarithmic scale, or among sizes as batches are) are multiplied or
    divided by `FACTOR`, others move by `SHARE` of their range; whole numbers, and the number of dense layers behind a
    dense ratio, by one at least, kernels by two. All stays within what a configuration may be.

    Args:
        configuration: the centre.
        space: the search space of the study, bound to the images.
        count: copies wanted.
        rng: decides which direction comes first.

    Returns:
        At most `count` copies, no two of them, and none and the centre, the same network. Fewer where fewer single
        changes are possible.
    """
    by_name: dict[str, list[PerturbedCopy]] = {}
    for name in _ORDER:
        signs = (1, -1) if rng.random() < 0.5 else (-1, 1)
        both_directions = (_moved(configuration, name, space.definitions[name], sign) for sign in signs)
        by_name[name] = [copy for copy in both_directions if copy is not None]
    in_both_directions = [copy for name in _BOTH_WAYS for copy in by_name[name]]
    once = [copy for copies in by_name.values() for copy in copies[:1]]
    again = [copy for copies in by_name.values() for copy in copies[1:]]
    distinct: dict[str, PerturbedCopy] = {}
    for copy in (*in_both_directions, *once, *again):
        distinct.setdefault(copy.configuration.hash, copy)
    return tuple(distinct.values())[:count]


def _moved(configuration: Configuration, name: str, definition: Definition, sign: int) -> PerturbedCopy | None:
    """The copy with this hyperparameter larger or smaller; None where that is impossible or changes nothing."""
    if isinstance(definition, Fixed) or name not in configuration.active:
        return None
    old = getattr(configuration, name)
    low, high = _reach(name, definition, old)
    try:
        value = min(max(_next_value(configuration, name, definition, sign), low), high)
        changes: dict[str, Any] = {name: float(f"{value:.4g}")}
        changed = replace(configuration, **changes)
    except ConfigurationError:  # too small a batch for batch normalization, 'flatten' without a dense layer
        return None
    if changed.hash == configuration.hash:
        return None
    return PerturbedCopy(configuration=changed, changes={name: (old, getattr(changed, name))})


def _next_value(configuration: Configuration, name: str, definition: Definition, sign: int) -> float:
    """The next value of a hyperparameter in the direction of `sign`, without regard to bounds."""
    old: float = getattr(configuration, name)
    if name == "kernel_size":
        return float(old + 2 * sign)  # odd kernels have a middle
    by_ratio = isinstance(definition, Choices) or (isinstance(definition, Range) and definition.log)
    if by_ratio and old > 0:
        new = old * FACTOR**sign
    else:
        low, high = _ends(definition)
        new = old + sign * SHARE * (high - low)
    if FIELDS[name] == "int":
        return sign * max(sign * round(new), sign * old + 1)
    if name == "dense_ratio" and round(configuration.depth * new) == configuration.n_dense:
        return (configuration.n_dense + sign) / configuration.depth
    return float(new)


def _reach(name: str, definition: Definition, old: float) -> tuple[float, float]:
    """The lowest and the highest value that may be tried."""
    low, high = _ends(definition)
    return (min(low, old), max(high, old)) if name in _WITHIN_SPACE else BOUNDS[name]


def _ends(definition: Definition) -> tuple[float, float]:
    match definition:
        case Fixed():
            return float(definition.value), float(definition.value)
        case Choices():
            numbers = [float(value) for value in definition.values]
            return min(numbers), max(numbers)
        case Range():
            return definition.low, definition.high
