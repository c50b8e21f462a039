"""How many weights a configuration's network has, by arithmetic: no network needs to be built."""

from __future__ import annotations

from spaces.config import Configuration

MAX_WIDENING = 8  # filters grow to this many times the first convolution's
MIN_POOLED_SIDE = 4  # smaller feature maps are not pooled

_NORMALIZATION_WEIGHTS = {"none": 0, "group": 2, "batch": 4}  # a channel: scale, shift; moving mean and variance


def size(configuration: Configuration, image_size: int, channels: int, classes: int) -> int:
    """Number of weights, moving statistics of batch normalization included.

    Args:
        configuration: the network.
        image_size: pixels a side.
        channels: of the images, 1 or 3.
        classes: outputs.
    """
    normalization = _NORMALIZATION_WEIGHTS[configuration.normalization]
    side, features, filters, total = image_size, channels, configuration.width, 0
    for _ in range(configuration.n_conv):
        total += configuration.kernel_size**2 * features * filters + filters + normalization * filters
        features = filters
        if side >= MIN_POOLED_SIDE:
            side //= 2
            filters = min(2 * filters, MAX_WIDENING * configuration.width)
    if configuration.n_conv == 0 or configuration.head == "flatten":
        features *= side * side
    for _ in range(configuration.n_dense):
        units = configuration.dense_units
        total += features * units + units + normalization * units
        features = units
    return total + features * classes + classes
