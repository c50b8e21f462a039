"""The decoded, labelled images of a run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.data import decoded_cache
from search.data.buckets import Squares, square_side
from search.data.decode import Probe
from search.data.duplicates import join_copies
from search.data.folds import check_count
from search.data.format_choice import FormatChoice, choose_format, frequent_sizes, needs_probes
from search.data.scan import ImageFolder
from search.data.scanned_folder import ScannedFolder
from search.errors import DataError
from search.events import Listener
from search.npy import memmap_npy
from search.records import DataSummary
from spaces.image_format import ImageFormat

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """Decoded, labelled images. Small enough to send to a worker, which maps the pixels itself.

    Attributes:
        path: `.npy` file with the pixels `(n, side, side, channels)` uint8.
        labels: `(n,)` int64 class of each image, 0..K-1.
        files: n paths relative to the image folder, in row order.
        groups: `(n,)` int64 group of each image, numbered from 0; None without groups.
        format: side, channels, shapes and white level of the pixels.
        shape_ids: `(n,)` index into `format.shapes` for each image; None if all images are squares.
        summary: facts about the images for reports.
        resized: side in pixels -> `.npy` file of the same images as squares of that side, in the same channels.
    """

    path: Path
    labels: IntArray
    files: tuple[str, ...]
    groups: IntArray | None
    format: ImageFormat
    shape_ids: IntArray | None
    summary: DataSummary
    resized: Mapping[int, Path] = field(default_factory=dict)

    def at(self, resolution: int) -> ImageSet:
        """Return the same images as squares of `resolution` pixels a side, one of `resized`; 0: as they are."""
        if not resolution or (resolution == self.format.image_size and not self.format.any_size):
            return self
        image_format = replace(self.format, image_size=resolution, shapes=())
        return replace(self, path=self.resized[resolution], format=image_format, shape_ids=None)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return the pixels `(n, side, side, channels)` uint8, a read-only memory map of the file.

        Images that don't fill their square lie in its upper left corner.
        """
        return memmap_npy(self.path)

    def squares(self) -> Any:
        """Return all images as squares `(n, side, side, channels)` uint8: a memory map or a `Squares`."""
        if self.shape_ids is None:
            return self.pixels()
        return Squares(self.pixels(), self.format.shapes, self.shape_ids, square_side(self.format.image_size))


def load_images(
    scanned: ScannedFolder,
    image_format: ImageFormat | FormatChoice,
    listener: Listener,
    *,
    folds: int = 0,
    copies_in: int = 0,
    resolutions: Sequence[int] = (),
    named_by: ImageFormat | None = None,
) -> ImageSet:
    """Return all readable images of a folder, decoded; decoded pixels are cached on the disk.

    Rows are sorted by class and content, so that renaming a file changes nothing. Unreadable files are logged and left
    out. The caller must report `summary` to the listener.

    Args:
        scanned: the image folder.
        image_format: a fixed format, or the rules for choosing one.
        listener: notified of stages and progress.
        folds: minimum number of images per class, i.e. the number of folds; 0: classes may be empty.
        copies_in: number of folds; if > 0, near-duplicates are grouped so that no split separates them. 0: they are not
            grouped.
        resolutions: sides in pixels at which the images are decoded as well, for backbones.
        named_by: format that the fingerprint is made of, if it is another one than that of the images.

    Raises:
        DataError: no image can be read, a class has too few images, an image has no group, or the disk is full.
    """
    folder = scanned.files
    probes: tuple[Probe | None, ...] = ()
    if needs_probes(image_format):
        listener.stage(f"Measuring {len(folder.files)} images")
        probes = decoded_cache.probes(folder, on_progress=listener.progress)
    chosen = choose_format(image_format, probes)
    images, shape_ids = chosen.format, chosen.shape_ids
    size = (
        f"in {len(images.shapes)} shapes" if images.any_size else f"at {images.image_size} x {images.image_size} pixels"
    )
    listener.stage(f"Reading {len(folder.files)} images {size}")
    decoded = decoded_cache.decoded(folder, images, shape_ids, on_progress=listener.progress)

    quarantined = dict(folder.unopened) | {folder.files[row]: why for row, why in decoded.unreadable.items()}
    quarantined = dict(sorted(quarantined.items()))
    for file, why in quarantined.items():
        _log.warning("Left out %s: %s", file, why)
    rows = np.array([row for row in range(len(folder.files)) if row not in decoded.unreadable], dtype=np.int64)
    labels = folder.labels[rows]
    counts = {name: int(np.sum(labels == label)) for label, name in enumerate(folder.classes)}
    _check_counts(folder, counts, quarantined, folds)

    files = tuple(folder.files[row] for row in rows)
    copies: int | None = None
    apart: tuple[str, ...] = ()
    if copies_in:
        numbers, copies, apart = _with_copies(scanned, rows, copies_in)
    else:
        numbers = scanned.groups(rows)
    own_shape_ids = None if shape_ids is None else shape_ids[rows]
    resized = {
        side: _resized(folder, replace(images, image_size=side, shapes=()), decoded, listener)
        for side in resolutions
        if side != images.image_size or images.any_size
    }
    readable = [probe for probe in probes if probe is not None]
    return ImageSet(
        path=decoded.path,
        labels=labels,
        files=files,
        groups=numbers,
        format=images,
        shape_ids=own_shape_ids,
        summary=DataSummary(
            folder=str(folder.path),
            fingerprint=_fingerprint(folder, rows, named_by or images),
            classes=counts,
            images=len(files),
            quarantined=quarantined,
            image_size=images.image_size,
            size_reason=chosen.reason,
            channels=images.channels,
            groups=None if numbers is None else len(np.unique(numbers)),
            sizes=frequent_sizes(readable),
            grey=sum(probe.grey for probe in readable) if readable else None,
            duplicates=len(rows) - len({folder.digests[row] for row in rows}),
            copies=copies,
            apart=apart,
            white=images.white,
            shapes={} if own_shape_ids is None else _counted(images, own_shape_ids),
        ),
        resized=resized,
    )


def _resized(
    folder: ImageFolder, image_format: ImageFormat, decoded: decoded_cache.Decoded, listener: Listener
) -> Path:
    """Decode the same files as squares of another side. Raises DataError if other files can be read now."""
    side = image_format.image_size
    listener.stage(f"Reading {len(folder.files)} images at {side} x {side} pixels for pretrained networks")
    again = decoded_cache.decoded(
        folder, image_format, on_progress=listener.progress, otherwise="--weights none (no pretrained networks)"
    )
    if set(again.unreadable) != set(decoded.unreadable):
        row = min(set(again.unreadable) ^ set(decoded.unreadable))
        raise DataError(
            f"{folder.path / folder.files[row]} could be read once, but not twice: the folder or its disk changes. "
            "Start again when it is at rest."
        )
    return again.path


def _with_copies(scanned: ScannedFolder, rows: IntArray, folds: int) -> tuple[IntArray | None, int, tuple[str, ...]]:
    """Put near-duplicate images into one group.

    Returns:
        The groups, the number of clusters of near-duplicates, and the classes whose near-duplicates are not grouped
        because too few groups would be left for the folds.
    """
    folder, copies, own_groups = scanned.files, scanned.copies(rows), scanned.groups(rows)
    labels = folder.labels[rows]
    for cluster in copies.too_large:
        _log.warning(
            "%d images, such as %s, are near-duplicates of each other. They are too large a share of their class to be "
            "kept together in every split, so they are treated as different images.",
            *(len(cluster.rows), folder.files[rows[cluster.rows[0]]]),
        )
    joined, small_classes = copies.groups, []
    small_enough = [cluster for cluster in copies.clusters if cluster not in copies.too_large]
    if joined is not None:
        small_classes = [
            label
            for label in np.unique(labels)
            if _units(joined, labels, label) < max(2, folds) <= _units(own_groups, labels, label)
        ]
        for label in small_classes:
            _log.warning(
                "Class %r has too few different pictures for %d folds. Near-duplicates of it may therefore be in both "
                "the training and the validation part of a split, and the scores of this class will be too high.",
                *(folder.classes[label], folds),
            )
        if small_classes:
            small_enough = [
                cluster for cluster in small_enough if not set(labels[list(cluster.rows)].tolist()) & set(small_classes)
            ]
            joined, _ = join_copies(small_enough, labels, own_groups)
    return (
        own_groups if joined is None else joined,
        len(small_enough),
        tuple(folder.classes[label] for label in small_classes),
    )


def _units(groups: IntArray | None, labels: IntArray, label: int) -> int:
    """Number of groups in a class; of images if there are no groups."""
    here = labels == label
    return int(here.sum()) if groups is None else len(np.unique(groups[here]))


def _counted(image_format: ImageFormat, shape_ids: IntArray) -> dict[str, int]:
    counts = np.bincount(shape_ids, minlength=len(image_format.shapes))
    return {f"{w} x {h}": int(count) for (h, w), count in zip(image_format.shapes, counts, strict=True)}


def _check_counts(found: ImageFolder, counts: dict[str, int], quarantined: dict[str, str], least: int) -> None:
    folder, labels = found.path, found.table
    if not any(counts.values()):
        example = next((f" The first: {file}: {why}." for file, why in quarantined.items()), "")
        raise DataError(
            f"none of the images in {folder} can be read ({len(quarantined)} files tried).{example} "
            "Expected png, jpg, bmp, gif, tif or webp images."
        )
    for name, count in counts.items():
        bad = sum(name in Path(file).parts[:2] for file in quarantined)  # below a part of a split, if there is one
        where = f" in {folder / name}" + (f" ({bad} unreadable)" if bad else "") if labels is None else f" in {labels}"
        if least >= 2:
            check_count(name, count, least, where)
        elif least == 1 and not count:
            raise DataError(f"class {name!r} has no readable image{where}. Add images, or remove the class.")


def _fingerprint(found: ImageFolder, rows: IntArray, image_format: ImageFormat) -> str:
    """Sixteen hexadecimal digits of class names, readable contents by class, and the format."""
    contents = [[found.classes[found.labels[row]], found.digests[row]] for row in rows]
    more: list[Any] = [list(map(list, image_format.shapes))] if image_format.shapes else []
    more += [] if image_format.white is None else [image_format.white]
    text = json.dumps([list(found.classes), contents, image_format.image_size, image_format.channels, *more])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
