"""Number of weights of a configuration's network, by arithmetic: no network needs to be built."""

from __future__ import annotations

from spaces.architecture import FLAT_IMAGE, FLAT_MAP, POOLED_FROM, WIDENING
from spaces.backbones import ANY_SIDE, BACKBONES, NO_BACKBONE
from spaces.config import PYRAMIDS, Configuration

_NORMALIZATION_WEIGHTS = {"none": 0, "group": 2, "batch": 4}  # a channel: scale, shift; moving mean and variance


def size(configuration: Configuration, image_size: int, channels: int, classes: int, *, any_size: bool = False) -> int:
    """Return the number of a network's weights, moving statistics of batch normalization included.

    Args:
        configuration: configuration of the network.
        image_size: side of the images, in pixels.
        channels: channels of the images, 1 or 3.
        classes: number of classes, K.
        any_size: whether the network is built for images of several shapes.
    """
    normalization = _NORMALIZATION_WEIGHTS[configuration.normalization]
    if configuration.backbone == NO_BACKBONE:
        features, total = _convolutions(configuration, image_size, channels, any_size=any_size)
    else:  # pooled to one number of each feature
        side = configuration.resolution or (ANY_SIDE if any_size else image_size)
        features, total = configuration.features, BACKBONES[configuration.backbone].weights_at(side)
    for _ in range(configuration.n_dense):
        units = configuration.dense_units
        total += features * units + units + normalization * units
        features = units
    return total + features * classes + classes


def _convolutions(configuration: Configuration, side: int, channels: int, *, any_size: bool) -> tuple[int, int]:
    """Length of the vector that the head makes of an image, and the weights before it."""
    normalization = _NORMALIZATION_WEIGHTS[configuration.normalization]
    features, filters, total = channels, configuration.width, 0
    for _ in range(configuration.n_conv):
        total += configuration.kernel_size**2 * features * filters + filters + normalization * filters
        features = filters
        if side >= POOLED_FROM:
            side //= 2
            filters = min(2 * filters, WIDENING * configuration.width)
    if configuration.n_conv == 0 or configuration.head == "flatten":
        fixed = FLAT_MAP if configuration.n_conv else FLAT_IMAGE
        features *= min(side, fixed) ** 2 if any_size else side * side
    elif configuration.head in PYRAMIDS:
        features *= PYRAMIDS[configuration.head]
    return features, total
