"""The images of a run: the front of this room."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.data import cache
from search.data.decode import Probe
from search.data.folds import check_count
from search.data.groups import number_groups, read_groups
from search.data.scan import ImageFolder, scan
from search.data.sizes import choose_channels, choose_size, common_size, frequent_sizes
from search.errors import DataError
from search.events import Listener
from search.npy import mapped
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

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(n, side, side, channels) uint8, mapped from the disk, read-only."""
        return mapped(self.path)


def load_images(
    folder: Path,
    *,
    image_size: int | None,
    folds: int,
    groups: Path | None,
    size_cap: int,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
    least: int = SIDES[0],
    common_cap: int | None = None,
    follow_links: bool = False,
    listener: Listener,
) -> ImageSet:
    """Scan a folder with one sub-folder a class, decode what is not in the cache, and say what was found.

    Rows are sorted by class and content: a renamed file changes nothing. Files that can't be read are logged and left
    out. The listener is told of stages and progress; passing the summary on is left to the caller.

    Args:
        folder: the image folder.
        image_size: pixels a side; None picks one from the images' own sizes, at most `size_cap`.
        folds: images that each class needs; 0 or 1 where no cross-validation follows.
        groups: CSV file with the columns `file` and `group`.
        size_cap: largest side that is picked.
        channels: 1 or 3; None is 1 if every image is grey.
        classes: of the training images, for a test folder: its labels then agree, and it may lack some of them.
        least: smallest `image_size` that is accepted.
        common_cap: images that all have one size keep it up to so many pixels a side; None never.
        follow_links: read images that lie elsewhere too, by links.
        listener: told how far it is.

    Raises:
        DataError: the folder, the group file or the size can't be used as they are.
    """
    if image_size is not None and not least <= image_size <= SIDES[1]:
        raise DataError(f"--image-size lies between {least} and {SIDES[1]} pixels; got {image_size}.")
    listener.stage(f"Scanning {folder}")
    found = scan(folder, classes=classes, follow_links=follow_links, on_progress=listener.progress)
    by_file = read_groups(groups, folder=folder, files=(*found.files, *found.unopened)) if groups else None
    side, reason, depth, probes = _format(found, image_size, size_cap, common_cap, channels, listener)
    listener.stage(f"Reading {len(found.files)} images at {side} x {side} pixels")
    decoded = cache.decoded(found, size=side, channels=depth, on_progress=listener.progress)

    quarantined = dict(found.unopened) | {found.files[row]: why for row, why in decoded.unreadable.items()}
    quarantined = dict(sorted(quarantined.items()))
    for file, why in quarantined.items():
        _log.warning("Left out %s: %s", file, why)
    rows = np.array([row for row in range(len(found.files)) if row not in decoded.unreadable], dtype=np.int64)
    labels = found.labels[rows]
    counts = {name: int(np.sum(labels == label)) for label, name in enumerate(found.classes)}
    _check_counts(folder, counts, quarantined, folds if classes is None else 0)

    files = tuple(found.files[row] for row in rows)
    numbers = number_groups(by_file, files, groups) if by_file is not None and groups else None
    return ImageSet(
        path=decoded.path,
        labels=labels,
        files=files,
        groups=numbers,
        summary=DataSummary(
            folder=str(folder),
            fingerprint=_fingerprint(found, rows, side, depth),
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
        ),
    )


def _format(
    found: ImageFolder,
    image_size: int | None,
    cap: int,
    common_cap: int | None,
    channels: int | None,
    listener: Listener,
) -> tuple[int, str, int, list[Probe]]:
    """Side, why, channels, and the images as measured, which they only are if something is left to choose."""
    given = "set by --image-size."
    if image_size is not None and channels is not None:
        return image_size, given, channels, []
    listener.stage(f"Measuring {len(found.files)} images")
    probes = [probe for probe in cache.probes(found, on_progress=listener.progress) if probe is not None]
    common = None if common_cap is None else common_size(probes, cap=common_cap)
    side, reason = (image_size, given) if image_size is not None else common or choose_size(probes, cap=cap)
    return side, reason, channels if channels is not None else choose_channels(probes), probes


def _check_counts(folder: Path, counts: dict[str, int], quarantined: dict[str, str], least: int) -> None:
    if not any(counts.values()):
        example = next((f" The first: {file}: {why}." for file, why in quarantined.items()), "")
        raise DataError(
            f"not one image in {folder} can be read ({len(quarantined)} files tried).{example} "
            "Expected png, jpg, bmp, gif, tif or webp images."
        )
    for name, count in counts.items():
        bad = sum(Path(file).parts[0] == name for file in quarantined)
        where = f" in {folder / name}" + (f" ({bad} unreadable)" if bad else "")
        if least >= 2:
            check_count(name, count, least, where)
        elif least == 1 and not count:
            raise DataError(f"class {name!r} has no readable image{where}. Add images or remove the folder.")


def _fingerprint(found: ImageFolder, rows: IntArray, side: int, channels: int) -> str:
    """Sixteen hexadecimal digits of class names, readable contents by class, size and channels."""
    contents = [[found.classes[found.labels[row]], found.digests[row]] for row in rows]
    text = json.dumps([list(found.classes), contents, side, channels])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
