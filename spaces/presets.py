"""Named search spaces, and the configurations worth trying first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from spaces.backbones import BACKBONES, MIDDLE, NO_BACKBONE, POOLED, STATISTICS, TRAINABLE
from spaces.config import (
    ACTIVATIONS,
    CHOICES,
    CLASS_WEIGHTINGS,
    CLASSIFIERS,
    HEADS,
    INITIALIZERS,
    INPUT_SCALINGS,
    LAYERS,
    NORMALIZATIONS,
    OVERSAMPLINGS,
    Configuration,
)
from spaces.definitions import Choices, Definition, Fixed, Range
from spaces.losses import LOSSES
from spaces.optimizers import OPTIMIZERS
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
        "loss": Fixed("cross_entropy"),
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
        "backbone": Fixed(NO_BACKBONE),
        "trainable": Fixed("frozen"),
        "statistics": Fixed("kept"),
        "backbone_rate": Fixed(0.1),
        "resolution": Fixed(0),
        "classifier": Fixed(LAYERS),
    },
)
"""The smallest space: seven hyperparameters that people ask about, and the learning rate."""

# Steps where 0 means "without": a continuous range would hardly ever draw it.
DEFAULT: Final = CORE.changed(
    {
        "loss": Choices(tuple(LOSSES)),
        "optimizer": Choices(tuple(OPTIMIZERS)),
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
"""The space that is searched without `--space`: core, optimizer, architecture and augmentation."""

_OPEN: Final[dict[str, Definition]] = {
    "trainable": Choices(TRAINABLE),
    "statistics": Choices(STATISTICS),
    "backbone_rate": Range(0.01, 1.0, log=True),
    "resolution": Choices((160, 224)),
    "classifier": Choices(CLASSIFIERS),
}

TRANSFER: Final = DEFAULT.changed(
    {
        **_OPEN,
        "batch_size": Choices((8, 16, 32, 64, 128, 256)),  # with fewer, one step of a backbone is one of a few images
        "depth": Fixed(2),  # of it only the dense layers count, 0 to 2 of them
        "dense_ratio": Choices((0.0, 0.5, 1.0)),
        "width": Fixed(16),
        "kernel_size": Fixed(3),
        "input_scaling": Fixed("standardized"),
        "head": Choices(POOLED),
        "backbone": Choices(tuple(BACKBONES)),
    },
    name="transfer",
)
"""The space of pretrained networks with the layers on top of them."""

PRESETS: Final = {space.name: space for space in (CORE, DEFAULT, TRANSFER)}

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
    replace(_CONV, depth=4, normalization="batch", batch_size=32, learning_rate=3e-3),
    replace(_CONV, depth=4, horizontal_flip=True, shift=0.1, learning_rate=2e-3),
    _CONV,
    replace(_CONV, oversampling="balanced", dropout=0.3),
    replace(_CONV, depth=5, dense_ratio=0.2, optimizer="sgd", learning_rate=1e-2, batch_size=8),
    replace(_CONV, depth=2, dense_ratio=1.0, dense_units=128, dropout=0.3, head="flatten", batch_size=32),
    replace(_CONV, depth=4, dense_ratio=0.25, head="flatten", dropout=0.4),
    replace(_CONV, depth=8, normalization="group", class_weighting="sqrt", dropout=0.1, width=8),
)
"""Configurations that learn on a hundred to twenty thousand small images, diverse, the most useful first.

The order is `python -m benchmarks.portfolio table`'s: greedily by what they lose on four image sets and digits.
"""


COLLAPSING: Final = replace(
    _CONV,
    depth=6,
    dense_ratio=0.33,
    dense_units=128,
    head="flatten",
    initializer="glorot_uniform",
    input_scaling="unit",
    dropout=0.5,
    batch_size=32,
    learning_rate=1e-2,
    weight_decay=0.0,
)
"""The network that the demo begins with: a usual first one, with too high a learning rate.

A layer dies in the first epochs, with nearly every seed.
"""


_FROZEN: Final = replace(
    _CONV, depth=2, batch_size=32, dropout=0.3, learning_rate=3e-3, backbone="mobilenet_v2", resolution=224
)

KNOWN_FEATURES: Final = tuple(
    replace(_FROZEN, classifier=classifier, head=head)
    for head in (MIDDLE, "average")
    for classifier in ("logistic", "ridge", "discriminant")
)
"""Classifiers on a backbone's features that are solved exactly. Each is tried on each backbone, those with the middle
feature map where it is known. The order is that of their mean accuracy on nine image sets."""

KNOWN_TRANSFER: Final = (
    _FROZEN,
    replace(_FROZEN, class_weighting="balanced", horizontal_flip=True, learning_rate=1e-2),
    replace(_FROZEN, trainable="last_block", horizontal_flip=True, learning_rate=1e-3, resolution=160),
    replace(
        _FROZEN,
        trainable="all",
        statistics="adapted",
        horizontal_flip=True,
        shift=0.1,
        learning_rate=1e-3,
        resolution=160,
    ),
)
"""Configurations on backbones: the first is tried on each backbone, the others on one of middle size."""


def with_weights(space: Space, backbones: Sequence[str]) -> Space:
    """Return a space whose backbones are restricted to `backbones`.

    The space `DEFAULT`, which has no backbones, gets them in addition to its networks from scratch. Other spaces
    without backbones are returned unchanged.

    Args:
        space: the space.
        backbones: names of the backbones whose weights are available.

    Raises:
        SpaceError: no network is left in the space.
    """
    if space.backbones:
        return space.with_backbones(backbones)
    if space == DEFAULT and backbones:
        return space.changed(
            {**_OPEN, "backbone": Choices((NO_BACKBONE, *backbones)), "head": Choices(CHOICES["head"])}
        )
    return space


def known_good(space: Space) -> list[Configuration]:
    """Return the known-good configurations, adapted to the space, each network once.

    Classifiers on features come first, as they take seconds; networks from scratch and on backbones take turns.

    Fields that the space fixes take the space's value, and the batch size takes the closest value in the space.
    Configurations that are still outside the space are left out.
    """
    names = space.backbones
    plain, *others = KNOWN_TRANSFER
    solved = [
        replace(configuration, backbone=name)
        for configuration in KNOWN_FEATURES
        for name in names
        if configuration.head != MIDDLE or BACKBONES[name].middle is not None
    ]
    transferred = [replace(plain, backbone=name) for name in names]
    if names:
        transferred += [replace(configuration, backbone=names[len(names) // 2]) for configuration in others]
    alternating = [each for pair in zip_longest(KNOWN_GOOD, transferred) for each in pair if each is not None]
    fitting = (space.nearest(configuration) for configuration in (*solved, *alternating))
    return list({configuration.hash: configuration for configuration in fitting if configuration}.values())
