"""A disk cache of decoded images, so that a second run on the same images decodes nothing.

An entry is `<key>.npy` with the pixels and `<key>.json` with the unreadable files. The key depends on the contents of
the files, labels, size, channels and decoding version, but not on names: a renamed folder finds its entry. Files are
written under a temporary name and then renamed, the JSON last, so that processes that build the same entry don't clash.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from search.arrays import IntArray
from search.data import disk_cache
from search.data.decode import RECIPE, Pixels, Probe, UnreadableImage, UnreadableNow, decode, probe
from search.data.format_choice import LADDER
from search.data.parallel import OnProgress, map_in_threads
from search.data.scan import ImageFolder
from search.errors import DataError
from search.npy import memmap_npy
from spaces.image_format import ImageFormat

SPARE_DISK: Final = 100_000_000
"""Bytes of the disk that the cache leaves free."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """The decoded images of a folder.

    Attributes:
        path: `.npy` file with the pixels `(n, size, size, channels)` uint8 of the n readable files, in row order.
        unreadable: row of each unreadable file in the image folder -> reason.
    """

    path: Path
    unreadable: Mapping[int, str]


def decoded(
    images: ImageFolder,
    image_format: ImageFormat,
    shape_ids: IntArray | None = None,
    *,
    on_progress: OnProgress,
    otherwise: str = "",
) -> Decoded:
    """Return the decoded images of a folder, from the cache or decoded now. A damaged entry is built again.

    The pixels may be larger than the memory: map the file instead of loading it. Images that don't fill their square
    lie in its upper left corner.

    Args:
        images: the image files.
        image_format: size, channels and shapes of the decoded images.
        shape_ids: `(files,)` index into `image_format.shapes` for each file; None: all are stretched to squares.
        on_progress: called after each decoded file; see `OnProgress`.
        otherwise: option that does without these pixels, for the message of a full disk; empty: a smaller size.

    Raises:
        DataError: the disk is too full for the pixels, or the cache folder can't be written.
    """
    shapes = None if shape_ids is None else [image_format.shapes[shape_id] for shape_id in shape_ids]
    size, channels = image_format.image_size, image_format.channels
    own: list[Any] = [] if shapes is None else [[list(shape) for shape in shapes]]
    own += [] if image_format.white is None else [image_format.white]
    key = disk_cache.entry_name([RECIPE, size, channels, images.labels.tolist(), images.digests, *own])
    pixels, facts = disk_cache.entry(f"{key}.npy"), f"{key}.json"
    shape = (len(images.files), size, size, channels)
    entry = disk_cache.plain(facts, lambda value: _checked(value, pixels, shape, _seen(facts)))
    if entry is None:
        _check_room(shape, pixels.parent, "--image-size" if shapes is None else "--max-side", otherwise)
        unreadable, lasts = _build(images, pixels, image_format, shapes, on_progress)
        entry = {"unreadable": unreadable, "bytes": disk_cache.digest_of(pixels)}
        if lasts:
            disk_cache.keep_plain(facts, entry)
            disk_cache.keep_plain(_seen(facts), disk_cache.stamp_of(pixels))
    return Decoded(path=pixels, unreadable={int(row): reason for row, reason in entry["unreadable"].items()})


def probes(images: ImageFolder, *, on_progress: OnProgress) -> tuple[Probe | None, ...]:
    """Return the original size and colours of each image of a folder, from the cache or measured now.

    Args:
        images: the image files.
        on_progress: called after each measured file; see `OnProgress`.

    Returns:
        One probe per file in row order; None for unreadable files.

    Raises:
        DataError: the cache folder can't be written.
    """
    name = f"{disk_cache.entry_name([RECIPE, 'upright, white', images.digests])}.probes.json"
    stored: tuple[Probe | None, ...] | None
    stored = disk_cache.plain(name, lambda value: tuple(entry and Probe(**entry) for entry in value))
    if stored is not None and len(stored) == len(images.files):
        return stored
    paths = [images.path / file for file in images.files]
    measured = tuple(map_in_threads(_probe_or_none, paths, "measuring", on_progress))
    if not any(isinstance(entry, UnreadableNow) for entry in measured):
        disk_cache.keep_plain(name, [asdict(entry) if isinstance(entry, Probe) else None for entry in measured])
    return tuple(entry if isinstance(entry, Probe) else None for entry in measured)


def _probe_or_none(path: Path) -> Probe | UnreadableNow | None:
    try:
        return probe(path)
    except UnreadableNow as error:
        return error
    except UnreadableImage:
        return None


def _build(
    images: ImageFolder,
    target: Path,
    image_format: ImageFormat,
    shapes: Sequence[tuple[int, int]] | None,
    on_progress: OnProgress,
) -> tuple[dict[int, str], bool]:
    """Decode all images into `target`; returns the reason by unreadable row, and whether all reasons are permanent.

    The pixels are written as a stream, not through a memory map: a full disk then raises an error instead of a signal.
    """

    def row(entry: tuple[Path, tuple[int, int] | None]) -> Pixels | UnreadableImage:
        try:
            return decode(entry[0], image_format, entry[1])
        except UnreadableImage as error:
            return error

    unreadable, lasts = {}, True
    shape = (len(images.files), image_format.image_size, image_format.image_size, image_format.channels)
    with disk_cache.replacing(target) as file:
        _write_header(file, shape)
        paths = [images.path / name for name in images.files]
        entries = list(zip(paths, shapes or repeat(None), strict=False))
        for number, result in enumerate(map_in_threads(row, entries, "decoding", on_progress)):
            if isinstance(result, UnreadableImage):
                unreadable[number] = str(result)
                lasts = lasts and not isinstance(result, UnreadableNow)
            else:
                file.write(result.tobytes())
        file.seek(0)
        _write_header(file, (shape[0] - len(unreadable), *shape[1:]))
    return unreadable, lasts


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """NumPy pads headers so that the first axis can change without moving the data."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _seen(facts: str) -> str:
    """Name of the entry that holds the stamp of the pixels when they were last checked."""
    return f"{Path(facts).stem}.seen.json"


def _checked(stored: Any, pixels: Path, shape: tuple[int, ...], seen: str) -> dict[str, Any]:
    """The facts of an entry, if its pixels are the ones that were written: gigabytes are not read at each start."""
    rows = shape[0] - len(stored["unreadable"])
    if memmap_npy(pixels).shape != (rows, *shape[1:]) if rows else not pixels.exists():
        raise ValueError("its shape is wrong")
    stamp = disk_cache.stamp_of(pixels)
    if disk_cache.plain(seen, list) != stamp:
        if disk_cache.digest_of(pixels) != stored["bytes"]:
            raise ValueError("its bytes have changed")
        with contextlib.suppress(DataError):  # of a cache that can only be read
            disk_cache.keep_plain(seen, stamp)
    return dict(stored)


def _check_room(shape: tuple[int, int, int, int], folder: Path, option: str, otherwise: str) -> None:
    count, side, _, channels = shape
    needed, room = count * side * side * channels, max(0, shutil.disk_usage(folder).free - SPARE_DISK)
    if needed <= room:
        return
    fitting = max((step for step in LADDER if step < side and count * step * step * channels <= room), default=None)
    smaller = f"{option} {fitting} or smaller" if fitting else f"fewer images: not even {option} {LADDER[0]} fits"
    advice = otherwise or smaller
    raise DataError(
        f"{count} images of {side} x {side} pixels in {channels} channel(s) take {_mega(needed)}, "
        f"but only {_mega(room)} can be used in {folder}. Use {advice}, make room, or set STEADYNET_CACHE "
        "to a folder on another disk."
    )


def _mega(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
