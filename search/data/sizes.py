"""Which side the images get, and how many channels."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Final

from search.data.decode import Probe

_FIT: Final = 0.95  # of the images with deep pixels: a few that are brighter keep their own white
_SHOWN: Final = 4  # sizes that are named
LADDER: Final = (16, 24, 32, 48, 64, 96, 128, 160, 192, 224)


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
    """What is white in all images with deep pixels; None where there are none of those."""
    whites = sorted(probe.white for probe in probes if probe.white)
    return whites[math.ceil(_FIT * len(whites)) - 1] if whites else None


def frequent_sizes(probes: Sequence[Probe]) -> dict[str, int]:
    """Images by `width x height`, the most frequent sizes first, all further ones together as `other`."""
    counts = Counter(f"{probe.width} x {probe.height}" for probe in probes)
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in order[_SHOWN:])
    return dict(order[:_SHOWN]) | ({"other": rest} if rest else {})
