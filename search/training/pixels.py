"""Scaling and augmentation of pixels with TensorFlow operations."""

from __future__ import annotations

import math
from typing import Any, Final

import tensorflow as tf

from spaces.backbones import NO_BACKBONE
from spaces.config import Configuration

_MIN_DEVIATION: Final = 1.0  # of pixel values: a constant channel is centred, not blown up
_MEASURED_IMAGES: Final = 2000  # most images that `statistics` measures
_CHUNK_VALUES: Final = 16_000_000  # values measured at a time: 64 MB


def statistics(pixels: Any, rows: Any, shapes: Any = None) -> tuple[Any, Any]:
    """Measure the mean and standard deviation of each channel over images.

    At most 2,000 images are measured, evenly spaced in `rows`, which are ordered by class: each class has its share.

    Args:
        pixels: `(n, side, side, channels)` uint8 tensor.
        rows: `(r,)` int32 tensor, indices of the images to measure, r at least 1.
        shapes: `(r, 2)` int32, height and width of each of these images in the upper left corner of its square; None if
            all images fill their squares.

    Returns:
        Mean (0..255) and standard deviation (at least 1), each `(channels,)` float32.
    """
    step = -(-len(rows) // _MEASURED_IMAGES)
    rows, shapes = rows[::step], None if shapes is None else shapes[::step]
    size = max(1, _CHUNK_VALUES // math.prod(pixels.shape[1:]))
    counts: list[float] = []
    means, variances = [], []
    for first in range(0, len(rows), size):
        chunk = slice(first, first + size)
        images = tf.cast(tf.gather(pixels, rows[chunk]), tf.float32)
        if shapes is None:
            counts.append(len(images))
            mean, variance = tf.nn.moments(images, axes=[0, 1, 2])
        else:
            down, across = (tf.sequence_mask(shapes[chunk, axis], images.shape[1 + axis]) for axis in (0, 1))
            is_inside = tf.cast(down[:, :, None, None] & across[:, None, :, None], tf.float32)
            counts.append(float(tf.reduce_sum(is_inside)))
            mean, variance = tf.nn.weighted_moments(images, axes=[0, 1, 2], frequency_weights=is_inside)
        means.append(mean)
        variances.append(variance)
    if len(counts) > 1:  # Chan, Golub and LeVeque, 1983, "Algorithms for computing the sample variance"
        shares = tf.constant(counts, tf.float32)[:, None] / sum(counts)
        mean = tf.reduce_sum(shares * means, axis=0)
        variance = tf.reduce_sum(shares * (variances + tf.square(means - mean)), axis=0)
    return mean, tf.maximum(tf.sqrt(variance), _MIN_DEVIATION)


def scaling(configuration: Configuration, mean: Any, deviation: Any) -> tuple[Any, Any]:
    """Return offset and factor of a configuration's scaling: scaled = (pixels - offset) x factor.

    Backbones do their own scaling, so they get offset 0 and factor 1.

    Args:
        configuration: gives the scaling.
        mean: `(channels,)` float32, mean of the training images, 0..255; used by "standardized" only.
        deviation: `(channels,)` float32, standard deviation of the training images; used by "standardized" only.

    Returns:
        Offset and factor, each `(channels,)` float32.

    Raises:
        ValueError: the scaling is unknown.
    """
    if configuration.backbone != NO_BACKBONE:
        return tf.zeros_like(mean), tf.ones_like(mean)
    match configuration.input_scaling:
        case "unit":
            return tf.zeros_like(mean), tf.ones_like(mean) / 255.0
        case "symmetric":
            return tf.ones_like(mean) * 127.5, tf.ones_like(mean) / 127.5
        case "standardized":
            return mean, 1.0 / deviation
        case unknown:
            raise ValueError(f"input_scaling is {unknown!r}, expected unit, symmetric or standardized")


def is_standardized(configuration: Configuration) -> bool:
    """Whether `scaling` uses the mean and deviation of the training images."""
    return configuration.backbone == NO_BACKBONE and configuration.input_scaling == "standardized"


def augments(configuration: Configuration) -> bool:
    """Whether the configuration has any augmentation."""
    return _flips(configuration) or _warps(configuration)


def augment(images: Any, configuration: Configuration, seed: Any) -> Any:
    """Flip, shift, zoom, shear and rotate images at random, each image independently.

    Areas beyond the edges of an image are filled with its mirror image.

    Args:
        images: `(batch, height, width, channels)` float32.
        configuration: gives the strength of each transformation.
        seed: `(2,)` int32; the same seed gives the same result.

    Returns:
        The augmented images, with the shape of `images`; `images` itself without augmentation.
    """
    if not augments(configuration):
        return images
    batch = tf.shape(images)[0]
    height, width = (_side(images, axis) for axis in (1, 2))
    draws = _draws(batch, seed)
    if not _warps(configuration):
        return _flipped(images, configuration, draws)
    angle = draws[0] * math.radians(configuration.rotation)
    shear = tf.tan(draws[1] * math.radians(configuration.shear))
    scale_x, scale_y = 1.0 + draws[2] * configuration.zoom, 1.0 + draws[2] * configuration.zoom
    if configuration.horizontal_flip:
        scale_x *= tf.where(draws[3] < 0, -1.0, 1.0)
    if configuration.vertical_flip:
        scale_y *= tf.where(draws[4] < 0, -1.0, 1.0)
    shift_x, shift_y = draws[5] * configuration.shift * width, draws[6] * configuration.shift * height
    # Output pixel -> input pixel about the centre: rotate, shear, scale, then shift.
    a0, a1 = tf.cos(angle) * scale_x, (-tf.sin(angle) + shear * tf.cos(angle)) * scale_x
    b0, b1 = tf.sin(angle) * scale_y, (tf.cos(angle) + shear * tf.sin(angle)) * scale_y
    x, y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    a2, b2 = x - a0 * x - a1 * y + shift_x, y - b0 * x - b1 * y + shift_y
    none = tf.zeros_like(a0)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, none, none], axis=1),
        output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _draws(batch: Any, seed: Any) -> Any:
    return tf.random.stateless_uniform((7, batch), seed, -1.0, 1.0)


def _side(images: Any, axis: int) -> Any:
    """Pixels along an axis as a float; for images of every size it is known in the graph only."""
    side = images.shape[axis]
    return float(side) if side is not None else tf.cast(tf.shape(images)[axis], tf.float32)


def _flips(configuration: Configuration) -> bool:
    return configuration.horizontal_flip or configuration.vertical_flip


def _warps(configuration: Configuration) -> bool:
    return max(configuration.shift, configuration.zoom, configuration.shear, configuration.rotation) > 0


def _flipped(images: Any, configuration: Configuration, draws: Any) -> Any:
    if configuration.horizontal_flip:
        images = tf.where(draws[3][:, None, None, None] < 0, images[:, :, ::-1], images)
    if configuration.vertical_flip:
        images = tf.where(draws[4][:, None, None, None] < 0, images[:, ::-1], images)
    return images
