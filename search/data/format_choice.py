"""Choosing the format that a set of images is brought to: side, channels, shapes, and what is white."""

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

_FIT: Final = 0.95  # of the images with deep pixels: a few that are brighter keep their own white
_SHOWN: Final = 4  # sizes that are named
_SET: Final = "set by --image-size."
LADDER: Final = (16, 24, 32, 48, 64, 96, 128, 160, 192, 224)
"""Sides that are chosen from, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatChoice:
    """Rules by which the format of a set of images is chosen where it is not known yet.

    Attributes:
        size_cap: largest side that is chosen, in pixels.
        image_size: side in pixels, with `native` or `shapes` of the longer side at most; None: chosen from the sizes of
            the files.
        channels: 1 or 3; None: 1 if every image is grey, else 3.
        native: images keep their sizes, as well as a few shapes allow.
        shapes: (height, width) in pixels, where they were chosen before; the images are brought to these.
        shortest_side: pixels of the shorter side at least, unless `image_size` is set.
        common_cap: images that all have one size keep it up to so many pixels a side; None: they don't.
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
    """The format of a set of images, and which shape each of them gets.

    Attributes:
        format: side, channels, shapes, and what is white.
        reason: a sentence that says why this size.
        shape_ids: `(files,)` index of each file's shape; None where all become squares.
    """

    format: ImageFormat
    reason: str
    shape_ids: IntArray | None = None


def needs_probes(wanted: ImageFormat | FormatChoice) -> bool:
    """Whether the files have to be measured before `choose_format`."""
    if isinstance(wanted, ImageFormat):
        return wanted.any_size
    return wanted.native or bool(wanted.shapes) or wanted.image_size is None or wanted.channels is None


def choose_format(wanted: ImageFormat | FormatChoice, probes: Sequence[Probe | None]) -> ChosenFormat:
    """Choose the format of images from their measured sizes.

    Args:
        wanted: the format where it is known; else what is set, and the limits of what is not.
        probes: of each file, None for unreadable ones; may be empty unless `needs_probes`.
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
        shapes = choice.shapes or choose_buckets(sizes, max_side=longest, least=choice.shortest_side)
        return _with_shapes(ImageFormat(image_size=longest, channels=channels, shapes=shapes, white=white), probes)
    side, reason = _choose_side(choice, readable)
    return ChosenFormat(ImageFormat(image_size=side, channels=channels, white=white), reason)


def _with_shapes(image_format: ImageFormat, probes: Sequence[Probe | None]) -> ChosenFormat:
    """Bring each image to the nearest shape. Unreadable ones get any shape: they are left out later."""
    shapes, longest = image_format.shapes, max(map(max, image_format.shapes))
    sizes = [(probe.width, probe.height) for probe in probes if probe is not None] or [(longest, longest)]
    smallest, largest = shapes[0], shapes[-1]
    reason = (
        f"images keep their sizes, with at most {longest} pixels on the longer side, as well as {len(shapes)} shapes "
        f"from {smallest[1]} x {smallest[0]} to {largest[1]} x {largest[0]} allow; no aspect ratio changes by more "
        f"than {100 * (stretch(sizes, shapes) - 1):.0f} %."
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
        reason = f"{side} pixels: a network that may be tried takes no smaller images."
    return side, reason


def choose_size(probes: Sequence[Probe], *, cap: int) -> tuple[int, str]:
    """A side from the ladder, in pixels, and a sentence that says why.

    The largest step that is neither above `cap` nor above the median of the images' shorter sides, so that at most
    half of the images are enlarged; the lowest step when there is no such step.
    """
    if not probes:
        return LADDER[0], "no image could be measured."
    median = statistics.median(min(probe.width, probe.height) for probe in probes)
    side = max((step for step in LADDER if step <= min(median, cap)), default=LADDER[0])
    if median < LADDER[0]:
        why = "that is below the smallest size on offer"
    elif median <= cap:
        why = "the largest size on offer that does not enlarge the usual image"
    else:
        why = f"the largest size on offer up to {cap}, which keeps fits fast here; --image-size N overrides it"
    return side, f"the images' shorter side is {median:g} pixels in the median: {why}."


def common_size(probes: Sequence[Probe], *, cap: int) -> tuple[int, str] | None:
    """The side of images that all have one size, up to `cap` pixels, and a sentence; None for others.

    For networks that are looked at as they are: three by three pixels stay three by three. The longer side of images
    that are not square, so that nothing is lost.
    """
    sizes = {(probe.width, probe.height) for probe in probes}
    if len(sizes) != 1:
        return None
    width, height = sizes.pop()
    side = max(width, height)
    square = "" if width == height else f", stretched to a square of {side}"
    return (side, f"all images have {width} x {height} pixels{square}.") if side <= cap else None


def choose_channels(probes: Sequence[Probe]) -> int:
    """1 if every image is grey, else 3."""
    return 1 if all(probe.grey for probe in probes) else 3


def common_white(probes: Sequence[Probe]) -> float | None:
    """Return the level that is white in images with more than 8 bits a channel; None without such images.

    It is that of all but the brightest few, which keep their own.
    """
    whites = sorted(probe.white for probe in probes if probe.white)
    return whites[math.ceil(_FIT * len(whites)) - 1] if whites else None


def frequent_sizes(probes: Sequence[Probe]) -> dict[str, int]:
    """Images by `width x height`, the most frequent sizes first, all further ones together as `other`."""
    counts = Counter(f"{probe.width} x {probe.height}" for probe in probes)
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in order[_SHOWN:])
    return dict(order[:_SHOWN]) | ({"other": rest} if rest else {})
