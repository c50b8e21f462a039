"""Perturbations: variants of a configuration in which one hyperparameter is changed a little."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from search.records import Variant
from spaces.config import BOUNDS, FIELDS, Configuration, ConfigurationError
from spaces.definitions import Choices, Definition, Fixed, Range
from spaces.space import Space

FACTOR: Final = 1.26
"""Factor by which hyperparameters on a ratio scale are multiplied or divided: 10 ** 0.1."""

SHARE: Final = 0.05
"""Share of the searched range by which all other hyperparameters move."""

COUNT: Final = 10
"""Number of variants of a configuration that are tried."""

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
"""Numeric hyperparameters, the most influential first."""

_BOTH_WAYS: Final = ("learning_rate",)
"""Hyperparameters that are tried in both directions first, as training may break down in either."""

_WITHIN_SPACE: Final = ("batch_size", "kernel_size")
"""Hyperparameters that stay within the searched range: a larger batch may leave too few updates, and a larger kernel
may be wider than the image."""


def perturbed(configuration: Configuration, space: Space, count: int, rng: np.random.Generator) -> tuple[Variant, ...]:
    """Return variants of a configuration, each with one hyperparameter changed a little.

    Only numeric hyperparameters are changed that the space searches and that are active in the configuration. A
    hyperparameter that is searched on a logarithmic scale or among choices is multiplied or divided by `FACTOR`; others
    move by `SHARE` of their range. Integers, and the number of dense layers, change by at least 1; kernel sizes by 2.
    All values stay within `spaces.config.BOUNDS`.

    Args:
        configuration: the configuration to vary.
        space: the study's search space, with batch sizes restricted to what suits the images.
        count: largest number of variants.
        rng: decides which direction of each hyperparameter is tried first.

    Returns:
        At most `count` variants, fewer if fewer changes are possible. They cover as many hyperparameters as possible;
        all of them, and the configuration itself, are different networks.
    """
    by_name: dict[str, list[Variant]] = {}
    for name in _ORDER:
        signs = (1, -1) if rng.random() < 0.5 else (-1, 1)
        both_directions = (_moved(configuration, name, space.definitions[name], sign) for sign in signs)
        by_name[name] = [variant for variant in both_directions if variant is not None]
    in_both_directions = [variant for name in _BOTH_WAYS for variant in by_name[name]]
    once = [variant for variants in by_name.values() for variant in variants[:1]]
    again = [variant for variants in by_name.values() for variant in variants[1:]]
    distinct: dict[str, Variant] = {}
    for variant in (*in_both_directions, *once, *again):
        distinct.setdefault(variant.configuration.hash, variant)
    return tuple(distinct.values())[:count]


def _moved(configuration: Configuration, name: str, definition: Definition, sign: int) -> Variant | None:
    """The variant with this hyperparameter larger or smaller; None if it is invalid or the same network."""
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
    return Variant(configuration=changed, changes={name: (old, getattr(changed, name))})


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
