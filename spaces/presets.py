"""The named spaces, and the configurations worth trying first."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from spaces.config import (
    ACTIVATIONS,
    CLASS_WEIGHTINGS,
    HEADS,
    INITIALIZERS,
    INPUT_SCALINGS,
    NORMALIZATIONS,
    OPTIMIZERS,
    OVERSAMPLINGS,
    Configuration,
)
from spaces.definitions import Choices, Fixed, Range
from spaces.space import Space

CORE: Final = Space(
    "core",
    {
        "depth": Range(1, 12),
        "dense_ratio": Range(0.0, 1.0),
        "initializer": Choices(INITIALIZERS),
        "dropout": Range(0.0, 0.7),
        "class_weighting": Choices(CLASS_WEIGHTINGS),
        "oversampling": Choices(OVERSAMPLINGS),
        "batch_size": Choices((2, 4, 8, 16, 32, 64, 128, 256)),  # 1 only by a space file: its gradient is one image's
        "learning_rate": Range(1e-5, 1e-1, log=True),
        "optimizer": Fixed("adam"),
        "weight_decay": Fixed(0.0),
        "width": Fixed(16),
        "dense_units": Fixed(64),
        "normalization": Fixed("none"),  # so that depth and initializer show what they do
        "head": Fixed("average"),  # the one that suits networks with and without dense layers, at any image size
        "activation": Fixed("relu"),
        "kernel_size": Fixed(3),
        "input_scaling": Fixed("standardized"),  # centred input: an untrained network favours one class less
        "label_smoothing": Fixed(0.0),
        "horizontal_flip": Fixed(False),  # on some images the geometry is the label
        "vertical_flip": Fixed(False),
        "shift": Fixed(0.0),
        "zoom": Fixed(0.0),
        "shear": Fixed(0.0),
        "rotation": Fixed(0.0),
    },
)
"""The seven that people ask about, and the learning rate."""

# Steps where 0 means "without": a continuous range would hardly ever draw it.
DEFAULT: Final = CORE.changed(
    {
        "optimizer": Choices(OPTIMIZERS),
        "weight_decay": Range(1e-6, 1e-2, log=True),
        "width": Choices((8, 16, 32)),
        "dense_units": Choices((16, 32, 64, 128, 256)),
        "normalization": Choices(NORMALIZATIONS),
        "head": Choices(HEADS),
        "activation": Choices(ACTIVATIONS),
        "kernel_size": Choices((3, 5)),
        "input_scaling": Choices(INPUT_SCALINGS),
        "label_smoothing": Range(0.0, 0.2, step=0.05),
        "horizontal_flip": Choices((False, True)),
        "vertical_flip": Choices((False, True)),
        "shift": Range(0.0, 0.2, step=0.05),
        "zoom": Range(0.0, 0.2, step=0.05),
        "shear": Range(0.0, 10.0, step=5.0),
        "rotation": Range(0.0, 15.0, step=5.0),
    },
    name="default",
)
"""Core and its companions."""

PRESETS: Final = {space.name: space for space in (CORE, DEFAULT)}

_CONV: Final = Configuration(
    depth=3,
    dense_ratio=0.0,
    initializer="he_normal",
    dropout=0.2,
    class_weighting="none",
    oversampling="none",
    batch_size=16,
    learning_rate=1e-3,
    weight_decay=1e-4,  # for spaces that fix an optimizer with decay; adam has none
    width=16,
    head="average",
    input_scaling="standardized",
)

KNOWN_GOOD: Final = (
    _CONV,
    replace(_CONV, depth=4, normalization="batch", batch_size=32, learning_rate=3e-3),
    replace(_CONV, depth=4, dense_ratio=0.25, head="flatten", dropout=0.4),
    replace(_CONV, oversampling="balanced", dropout=0.3),
    replace(_CONV, depth=4, horizontal_flip=True, shift=0.1, learning_rate=2e-3),
    replace(_CONV, depth=2, dense_ratio=1.0, dense_units=128, dropout=0.3, head="flatten", batch_size=32),
    replace(_CONV, depth=8, normalization="group", class_weighting="sqrt", dropout=0.1, width=8),
    replace(_CONV, depth=5, dense_ratio=0.2, optimizer="sgd", learning_rate=1e-2, batch_size=8),
)
"""Diverse and sane on a hundred to twenty thousand small images; the first is the plainest."""


def known_good(space: Space) -> list[Configuration]:
    """The known-good configurations as the space can have them, each network once.

    Fields that the space fixes are taken from it, the batch size is the closest it offers; what then lies outside is
    left out.
    """
    fitting = (space.nearest(configuration) for configuration in KNOWN_GOOD)
    return list({configuration.hash: configuration for configuration in fitting if configuration}.values())
