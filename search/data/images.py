"""The images of a run: the front of this room."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.data import decoded_cache
from search.data.buckets import LEAST_SIDE, Buckets, choose_buckets, nearest, stretch
from search.data.decode import Probe
from search.data.duplicates import groups as groups_of
from search.data.folds import check_count
from search.data.scan import ImageFolder
from search.data.scanned_folder import ScannedFolder
from search.data.sizes import choose_channels, choose_size, common_size, common_white, frequent_sizes
from search.data.squares import Squares, square_side
from search.errors import DataError
from search.events import Listener
from search.npy import memmap_npy
from search.records import DataSummary

_log = logging.getLogger(__name__)

SIDES: Final = (8, 1024)
"""Smallest and largest side that may be asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """Decoded, labelled images. Small enough to send to a worker, which maps the pixels itself."""

    path: Path  # of the .npy: (n, side, side, channels) uint8
    labels: IntArray  # (n,) 0..K-1
    files: tuple[str, ...]  # relative to the folder, row order
    groups: IntArray | None  # (n,), from 0
    summary: DataSummary
    shapes: tuple[tuple[int, int], ...] = ()  # (height, width) of images of every size; none: all are squares
    places: IntArray | None = None  # (n,) shape of each image

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(n, side, side, channels) uint8, mapped from the disk, read-only.

        Images of every size lie in the upper left corners.
        """
        return memmap_npy(self.path)

    def squares(self) -> Any:
        """The same as squares, whatever their sizes: an array, or what looks like one."""
        if self.places is None:
            return self.pixels()
        return Squares(self.pixels(), self.shapes, self.places, square_side(self.summary.image_size))


def load_images(
    scanned: ScannedFolder,
    listener: Listener,
    *,
    image_size: int | None,
    folds: int,
    size_cap: int,
    channels: int | None = None,
    white: float | None = None,
    least: int = SIDES[0],
    native: bool = False,
    thinnest: int = LEAST_SIDE,
    shapes: Sequence[tuple[int, int]] = (),
    common_cap: int | None = None,
    copies_in: int = 0,
) -> ImageSet:
    """Decode the images of a folder that are not in the cache yet.

    Rows are sorted by class and content: a renamed file changes nothing. Files that can't be read are logged and left
    out. The listener is told of stages and progress; passing the summary on is left to the caller.

    Args:
        scanned: the image folder.
        listener: told how far it is.
        image_size: pixels a side; None picks one from the images' own sizes, at most `size_cap`.
        folds: images that each class needs; 0 or 1 where no cross-validation follows.
        size_cap: largest side that is picked.
        channels: 1 or 3; None is 1 if every image is grey.
        white: of deep pixels, where it is known; None: that of these images, if they are measured.
        least: smallest `image_size` that is accepted.
        native: images keep their sizes, up to `image_size` or `size_cap` pixels on the longer side, as well as a few
            shapes allow.
        thinnest: pixels of the shorter side at least, unless `image_size` says otherwise.
        shapes: (height, width) of the training images, for others that are to be brought to the same.
        common_cap: images that all have one size keep it up to so many pixels a side; None never.
        copies_in: make groups of images that show the same, so that none of so many folds parts them; 0 does not.

    Raises:
        DataError: the images or the size can't be used as they are.
    """
    if image_size is not None and not least <= image_size <= SIDES[1]:
        option = "--max-side" if native else "--image-size"
        raise DataError(f"{option} lies between {least} and {SIDES[1]} pixels; got {image_size}.")
    found = scanned.files
    buckets = None
    if native or shapes:
        probed = _measured(found, listener)
        buckets, reason = _every_size(probed, image_size or size_cap, thinnest, shapes)
        probes = [one for one in probed if one is not None]
        side, depth = max(map(max, buckets.shapes)), channels if channels is not None else choose_channels(probes)
        listener.stage(f"Reading {len(found.files)} images in {len(buckets.shapes)} shapes")
    else:
        side, reason, depth, probes = _format(found, image_size, size_cap, common_cap, channels, thinnest, listener)
        listener.stage(f"Reading {len(found.files)} images at {side} x {side} pixels")
    own = None if buckets is None else [buckets.shapes[place] for place in buckets.of]
    white = common_white(probes) if white is None and channels is None else white
    decoded = decoded_cache.decoded(
        found, size=side, channels=depth, shapes=own, white=white, on_progress=listener.progress
    )

    quarantined = dict(found.unopened) | {found.files[row]: why for row, why in decoded.unreadable.items()}
    quarantined = dict(sorted(quarantined.items()))
    for file, why in quarantined.items():
        _log.warning("Left out %s: %s", file, why)
    rows = np.array([row for row in range(len(found.files)) if row not in decoded.unreadable], dtype=np.int64)
    classed = found.labels[rows]
    counts = {name: int(np.sum(classed == label)) for label, name in enumerate(found.classes)}
    _check_counts(found, counts, quarantined, folds)

    files = tuple(found.files[row] for row in rows)
    copies: int | None = None
    apart: tuple[str, ...] = ()
    if copies_in:
        numbers, copies, apart = _with_copies(scanned, rows, copies_in)
    else:
        numbers = scanned.groups(rows)
    return ImageSet(
        path=decoded.path,
        labels=classed,
        files=files,
        groups=numbers,
        shapes=() if buckets is None else buckets.shapes,
        places=None if buckets is None else buckets.of[rows],
        summary=DataSummary(
            folder=str(found.path),
            fingerprint=_fingerprint(found, rows, side, depth, () if buckets is None else buckets.shapes, white),
            classes=counts,
            images=len(files),
            quarantined=quarantined,
            image_size=side,
            size_reason=reason,
            channels=depth,
            groups=None if numbers is None else len(np.unique(numbers)),
            sizes=frequent_sizes(probes),
            grey=sum(probe.grey for probe in probes) if probes else None,
            duplicates=len(rows) - len({found.digests[row] for row in rows}),
            copies=copies,
            apart=apart,
            white=white,
            shapes={} if buckets is None else _counted(buckets, rows),
        ),
    )


def _with_copies(scanned: ScannedFolder, rows: IntArray, folds: int) -> tuple[IntArray | None, int, tuple[str, ...]]:
    """Groups that also hold copies of a picture together, and how many pictures have copies.

    Last, the classes that would have too few groups for the folds: their copies stay apart.
    """
    found, copies, own = scanned.files, scanned.copies(rows), scanned.groups(rows)
    labels = found.labels[rows]
    for cluster in copies.too_large:
        _log.warning(
            "%d images such as %s show the same: too many of their class to be kept on one side of each split.",
            *(len(cluster.rows), found.files[rows[cluster.rows[0]]]),
        )
    joined, few = copies.groups, []
    small_enough = [cluster for cluster in copies.clusters if cluster not in copies.too_large]
    if joined is not None:
        few = [
            label
            for label in np.unique(labels)
            if _units(joined, labels, label) < max(2, folds) <= _units(own, labels, label)
        ]
        for label in few:
            _log.warning(
                "Class %r has copies of so few pictures that they can't be kept on one side of each of %d splits; its "
                "scores will be too good.",
                *(found.classes[label], folds),
            )
        if few:
            small_enough = [
                cluster for cluster in small_enough if not set(labels[list(cluster.rows)].tolist()) & set(few)
            ]
            joined, _ = groups_of(small_enough, labels, own)
    return own if joined is None else joined, len(small_enough), tuple(found.classes[label] for label in few)


def _units(groups: IntArray | None, labels: IntArray, label: int) -> int:
    """Groups of a class; its images where there are no groups."""
    here = labels == label
    return int(here.sum()) if groups is None else len(np.unique(groups[here]))


def _format(
    found: ImageFolder,
    image_size: int | None,
    cap: int,
    common_cap: int | None,
    channels: int | None,
    thinnest: int,
    listener: Listener,
) -> tuple[int, str, int, list[Probe]]:
    """Side, why, channels, and the images as measured, which they only are if something is left to choose."""
    given = "set by --image-size."
    if image_size is not None and channels is not None:
        return image_size, given, channels, []
    probes = [probe for probe in _measured(found, listener) if probe is not None]
    common = None if common_cap is None else common_size(probes, cap=common_cap)
    side, reason = (image_size, given) if image_size is not None else common or choose_size(probes, cap=cap)
    if image_size is None and common is None and side < thinnest:
        side, reason = thinnest, f"{thinnest} pixels: a network that may be tried takes no smaller images."
    return side, reason, channels if channels is not None else choose_channels(probes), probes


def _measured(found: ImageFolder, listener: Listener) -> tuple[Probe | None, ...]:
    listener.stage(f"Measuring {len(found.files)} images")
    return decoded_cache.probes(found, on_progress=listener.progress)


def _every_size(
    probed: Sequence[Probe | None], max_side: int, thinnest: int, shapes: Sequence[tuple[int, int]]
) -> tuple[Buckets, str]:
    """The shape of each image, and a sentence about them. Unreadable ones get any: they are left out later."""
    sizes = [(one.width, one.height) for one in probed if one is not None] or [(max_side, max_side)]
    everyone = [(one.width, one.height) if one else sizes[0] for one in probed]
    chosen = tuple(shapes) or choose_buckets(sizes, max_side=max_side, least=thinnest)
    least, most = chosen[0], chosen[-1]
    reason = (
        f"images keep their sizes, with at most {max(map(max, chosen))} pixels on the longer side, as well as "
        f"{len(chosen)} shapes from {least[1]} x {least[0]} to {most[1]} x {most[0]} allow; no aspect ratio changes by "
        f"more than {100 * (stretch(sizes, chosen) - 1):.0f} %."
    )
    return Buckets(chosen, nearest(everyone, chosen)), reason


def _counted(buckets: Buckets, rows: IntArray) -> dict[str, int]:
    counts = np.bincount(buckets.of[rows], minlength=len(buckets.shapes))
    return {f"{w} x {h}": int(count) for (h, w), count in zip(buckets.shapes, counts, strict=True)}


def _check_counts(found: ImageFolder, counts: dict[str, int], quarantined: dict[str, str], least: int) -> None:
    folder, labels = found.path, found.table
    if not any(counts.values()):
        example = next((f" The first: {file}: {why}." for file, why in quarantined.items()), "")
        raise DataError(
            f"not one image in {folder} can be read ({len(quarantined)} files tried).{example} "
            "Expected png, jpg, bmp, gif, tif or webp images."
        )
    for name, count in counts.items():
        bad = sum(name in Path(file).parts[:2] for file in quarantined)  # below a part of a split, if there is one
        where = f" in {folder / name}" + (f" ({bad} unreadable)" if bad else "") if labels is None else f" in {labels}"
        if least >= 2:
            check_count(name, count, least, where)
        elif least == 1 and not count:
            raise DataError(f"class {name!r} has no readable image{where}. Add images or remove the folder.")


def _fingerprint(
    found: ImageFolder,
    rows: IntArray,
    side: int,
    channels: int,
    shapes: Sequence[tuple[int, int]],
    white: float | None,
) -> str:
    """Sixteen hexadecimal digits of class names, readable contents by class, size, channels, shapes and white."""
    contents = [[found.classes[found.labels[row]], found.digests[row]] for row in rows]
    more: list[Any] = [list(map(list, shapes))] if shapes else []
    more += [] if white is None else [white]
    text = json.dumps([list(found.classes), contents, side, channels, *more])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
