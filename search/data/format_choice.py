"""Choice of the format that a data set is converted to: side, channels, shapes and white level."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from search.arrays import IntArray
from search.data.buckets import LEAST_SIDE, choose_buckets, nearest, stretch
from search.data.decode import Probe
from spaces.image_format import ImageFormat

_WHITE_QUANTILE: Final = 0.95  # of the images' own white levels
_SHOWN: Final = 4  # sizes that are listed one by one
_SET: Final = "set by --image-size."
LADDER: Final = (16, 24, 32, 48, 64, 96, 128, 160, 192, 224)
"""Image sides to choose from, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatChoice:
    """Rules for choosing the format of a data set.

    Attributes:
        size_cap: largest side to choose, in pixels.
        image_size: fixed side in pixels; with `native` or `shapes` it limits the longer side. None: chosen from the
            sizes of the files.
        channels: 1 or 3; None: 1 if every image is grey, else 3.
        native: keep the images' own sizes approximately, with a few shapes instead of one square.
        shapes: (height, width) in pixels of shapes that were chosen before; the images are resized to these. Empty:
            shapes are chosen if `native`.
        shortest_side: smallest side to choose, in pixels; ignored if squares of a fixed `image_size` are used.
        common_cap: if all images have one size of at most this many pixels a side, they keep it. None: they are treated
            like images of different sizes.
    """

    size_cap: int
    image_size: int | None = None
    channels: int | None = None
    native: bool = False
    shapes: tuple[tuple[int, int], ...] = ()
    shortest_side: int = LEAST_SIDE
    common_cap: int | None = None


@dataclass(frozen=True, slots=True)
class ChosenFormat:
    """The chosen format of a data set, and the shape of each of its images.

    Attributes:
        format: side, channels, shapes and white level.
        reason: a sentence for the report that says why this size was chosen.
        shape_ids: `(files,)` index into `format.shapes` for each file; None if all images become squares.
    """

    format: ImageFormat
    reason: str
    shape_ids: IntArray | None = None


def needs_probes(wanted: ImageFormat | FormatChoice) -> bool:
    """Whether `choose_format` needs a probe of each file.

    Args:
        wanted: a fixed format, or the rules for choosing one.
    """
    if isinstance(wanted, ImageFormat):
        return wanted.any_size
    return wanted.native or bool(wanted.shapes) or wanted.image_size is None or wanted.channels is None


def choose_format(wanted: ImageFormat | FormatChoice, probes: Sequence[Probe | None]) -> ChosenFormat:
    """Choose the format of a data set from the measured sizes and colours of its files.

    Args:
        wanted: a fixed format, or the rules for choosing one.
        probes: one per file, None if unreadable; may be empty if `needs_probes(wanted)` is false.
    """
    if isinstance(wanted, ImageFormat):
        return _with_shapes(wanted, probes) if wanted.any_size else ChosenFormat(wanted, _SET)
    choice = wanted
    readable = [probe for probe in probes if probe is not None]
    channels = choose_channels(readable) if choice.channels is None else choice.channels
    white = common_white(readable) if choice.channels is None else None
    if choice.native or choice.shapes:
        longest = choice.image_size or choice.size_cap
        sizes = [(probe.width, probe.height) for probe in readable] or [(longest, longest)]
        shapes = choice.shapes or choose_buckets(sizes, max_side=longest, min_side=choice.shortest_side)
        return _with_shapes(ImageFormat(image_size=longest, channels=channels, shapes=shapes, white=white), probes)
    side, reason = _choose_side(choice, readable)
    return ChosenFormat(ImageFormat(image_size=side, channels=channels, white=white), reason)


def _with_shapes(image_format: ImageFormat, probes: Sequence[Probe | None]) -> ChosenFormat:
    """Assign the nearest shape to each image. Unreadable files get an arbitrary shape: they are left out later."""
    shapes, longest = image_format.shapes, max(map(max, image_format.shapes))
    sizes = [(probe.width, probe.height) for probe in probes if probe is not None] or [(longest, longest)]
    smallest, largest = shapes[0], shapes[-1]
    reason = (
        f"images nearly keep their own sizes, up to {longest} pixels on the longer side: each is resized to the "
        f"nearest of {len(shapes)} shapes from {smallest[1]} x {smallest[0]} to {largest[1]} x {largest[0]}; no aspect "
        f"ratio changes by more than {100 * (stretch(sizes, shapes) - 1):.0f} %."
    )
    every = [(probe.width, probe.height) if probe else sizes[0] for probe in probes]
    return ChosenFormat(replace(image_format, image_size=longest), reason, nearest(every, shapes))


def _choose_side(choice: FormatChoice, probes: Sequence[Probe]) -> tuple[int, str]:
    if choice.image_size is not None:
        return choice.image_size, _SET
    if choice.common_cap is not None and (common := common_size(probes, cap=choice.common_cap)):
        return common
    side, reason = choose_size(probes, cap=choice.size_cap)
    if side < choice.shortest_side:
        side = choice.shortest_side
        reason = f"{side} pixels: a network in the search space takes no smaller images."
    return side, reason


def choose_size(probes: Sequence[Probe], *, cap: int) -> tuple[int, str]:
    """Choose a side from `LADDER`: the largest one not above `cap` or the median of the images' shorter sides.

    At most half of the images are enlarged thereby, unless the median is below the smallest side of `LADDER`, which is
    chosen then.

    Args:
        probes: the readable images; may be empty.
        cap: largest side to choose, in pixels.

    Returns:
        The side in pixels, and a sentence that says why it was chosen.
    """
    if not probes:
        return LADDER[0], "no image could be measured."
    median = statistics.median(min(probe.width, probe.height) for probe in probes)
    side = max((step for step in LADDER if step <= min(median, cap)), default=LADDER[0])
    if median < LADDER[0]:
        why = "that is below the smallest size to choose from"
    elif median <= cap:
        why = "this is the largest size to choose from that does not enlarge a typical image"
    else:
        why = f"this is the largest size up to {cap}, a limit that keeps fits fast; --image-size N overrides it"
    return side, f"the median of the images' shorter sides is {median:g} pixels: {why}."


def common_size(probes: Sequence[Probe], *, cap: int) -> tuple[int, str] | None:
    """Return the longer side of images that all have the same size.

    Args:
        probes: the readable images; may be empty.
        cap: largest side that is kept, in pixels.

    Returns:
        The side in pixels and a sentence that says why it was chosen; None if sizes differ or the side is above `cap`.
    """
    sizes = {(probe.width, probe.height) for probe in probes}
    if len(sizes) != 1:
        return None
    width, height = sizes.pop()
    side = max(width, height)
    square = "" if width == height else f", stretched to a square of {side}"
    return (side, f"all images have {width} x {height} pixels{square}.") if side <= cap else None


def choose_channels(probes: Sequence[Probe]) -> int:
    """Return the number of channels of a data set: 1 if every image is grey, else 3."""
    return 1 if all(probe.grey for probe in probes) else 3


def common_white(probes: Sequence[Probe]) -> float | None:
    """Return the white level of a data set's images with more than 8 bits a channel; None without such images.

    It is the 95th percentile of the images' own white levels, so that a few very bright images don't darken the rest.
    Images that are brighter than it, or far dimmer, are scaled by their own level.
    """
    whites = sorted(probe.white for probe in probes if probe.white)
    return whites[math.ceil(_WHITE_QUANTILE * len(whites)) - 1] if whites else None


def frequent_sizes(probes: Sequence[Probe]) -> dict[str, int]:
    """Count the images of each size.

    Returns:
        "width x height" in pixels -> number of images, for the four most frequent sizes, the most frequent first; the
        remaining images are counted as "other".
    """
    counts = Counter(f"{probe.width} x {probe.height}" for probe in probes)
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in order[_SHOWN:])
    return dict(order[:_SHOWN]) | ({"other": rest} if rest else {})
