"""From a folder of images to what is wrong with it, without any training."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.data.decode import Probe, UnreadableImage, miniature
from search.data.duplicates import Cluster, crossing, groups
from search.data.folds import make_folds
from search.data.groups import number_groups, read_groups
from search.data.image_stats import ImageStats, image_stats
from search.data.images import known_clusters
from search.data.parallel import map_in_threads
from search.data.scan import ImageFolder, scan
from search.data.sizes import frequent_sizes
from search.data.thumbnails import encoded
from search.errors import DataError
from search.events import Listener
from search.inspection import class_sizes, copy_findings, file_findings
from search.inspection.findings import OF_TEST, Finding, Inspection, Severity
from search.inspection.shortcuts import shortcuts, tables
from search.selection.baselines import baselines

_SHOWN: Final = 24  # thumbnails of a finding
_SIDE: Final = 112  # pixels of a thumbnail
_METRIC: Final = "balanced_accuracy"
_ORDER: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckRequest:
    """What to inspect."""

    data: Path
    test: Path | None = None
    groups: Path | None = None
    labels: Path | None = None  # CSV file, where sub-folders are no classes
    follow_links: bool = False
    native: bool = False  # images will keep their sizes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A folder whose images were looked at and compared with each other; rows of the readable ones."""

    found: ImageFolder
    looks: ImageStats  # of all files
    rows: IntArray  # of the readable ones among them
    names: tuple[str, ...]  # of the readable ones, as all below
    labels: IntArray
    same: Sequence[Cluster]
    large: Sequence[Cluster]  # of them those that are too large to be kept together
    units: IntArray | None  # groups, with copies joined
    test: Path | None

    @property
    def counts(self) -> dict[str, int]:
        return {name: int((self.labels == label).sum()) for label, name in enumerate(self.found.classes)}


def inspect(request: CheckRequest, listener: Listener) -> Inspection:
    """Look at every file, compare them with each other, try simple methods, and say what is wrong.

    Raises:
        DataError: the folder has no classes with images, or the group file can't be used.
    """
    started = time.monotonic()
    seen = _seen(request, listener)
    told = _findings(seen, request, listener)
    listener.stage("Trying simple methods")
    folds = _folds(seen)
    simple = baselines(seen.looks.colour[seen.rows], seen.labels, folds, _METRIC) if folds else {}
    looked, rows = seen.looks, seen.rows
    return Inspection(
        folder=str(request.data),
        test=None if seen.test is None else str(seen.test),
        classes=seen.counts,
        images=len(rows),
        findings=told,
        sizes=frequent_sizes([Probe(int(looked.width[row]), int(looked.height[row]), False) for row in rows]),
        aspects=_aspects(looked.width[rows], looked.height[rows]),
        bits=dict(Counter(looked.bits[rows].tolist()).most_common()),
        modes=dict(Counter(looked.modes[row] for row in rows).most_common()),
        formats=dict(Counter(looked.formats[row] for row in rows).most_common()),
        units=len(rows) if seen.units is None else len(np.unique(seen.units)),
        folds=class_sizes.possible_folds(seen.labels, seen.units, len(seen.found.classes)),
        chance=1 / len(seen.found.classes),
        baselines=simple,
        half=class_sizes.half_width(seen.labels, seen.units, len(seen.found.classes)),
        seconds=time.monotonic() - started,
        thumbnails=_thumbnails(request.data, seen.test, told, listener),
    )


def _aspects(width: IntArray, height: IntArray) -> tuple[float, float, float]:
    least, median, most = np.quantile(width / np.maximum(1, height), (0, 0.5, 1))
    return float(least), float(median), float(most)


def check_briefly(request: CheckRequest, listener: Listener) -> tuple[Finding, ...]:
    """What is wrong, the gravest first, and nothing else: for a search that begins. Raises as `inspect` does."""
    return _findings(_seen(request, listener), request, listener)


def _seen(request: CheckRequest, listener: Listener) -> _Seen:
    listener.stage(f"Scanning {request.data}")
    found = scan(request.data, labels=request.labels, follow_links=request.follow_links, on_progress=listener.progress)
    listener.stage(f"Looking at {len(found.files):,} images")
    looked = image_stats(found, on_progress=listener.progress)
    rows = np.flatnonzero(looked.readable)
    if not len(rows):
        raise DataError(
            f"not one image in {request.data} can be read. Expected png, jpg, bmp, gif, tif or webp images."
        )
    labels, names = found.labels[rows], tuple(found.files[row] for row in rows)
    given = None
    if request.groups is not None:
        by_file = read_groups(request.groups, folder=request.data, files=(*found.files, *found.unopened))
        given = number_groups(by_file, names, request.groups)
    listener.stage("Comparing the images with each other")
    same = known_clusters(found, rows, on_progress=listener.progress)
    units, large = groups(same, labels, given)
    return _Seen(
        found=found,
        looks=looked,
        rows=rows,
        names=names,
        labels=labels,
        same=same,
        large=large,
        units=units,
        test=request.test or found.test,
    )


def _findings(seen: _Seen, request: CheckRequest, listener: Listener) -> tuple[Finding, ...]:
    found, looked = seen.found, seen.looks
    test = None if seen.test is None else _test_images(seen, seen.test, request, listener)
    absent = [name for name in found.absent if test is None or name in test.absent]
    told = [
        *file_findings.unreadable(found.files, looked, dict(found.unopened)),
        *copy_findings.within(seen.same, seen.large, seen.names, seen.labels, found.classes, _blank(seen)),
        *file_findings.appearance(found.files, looked),
        *file_findings.unlabelled(found.unlabelled, absent),
        *file_findings.sizes(found.files, looked, native=request.native),
        *file_findings.unusual(found.files, looked),
        *class_sizes.amounts(seen.counts, seen.labels, seen.units),
        *(() if test is None else _leaks(seen, test, listener)),
        *_shortcuts(seen),
    ]
    return tuple(sorted(told, key=lambda one: _ORDER[one.severity]))


def _blank(seen: _Seen) -> frozenset[int]:
    """Readable rows of which nothing is to be seen."""
    return frozenset(np.flatnonzero(seen.looks.contrast[seen.rows] < file_findings.BLANK_CONTRAST).tolist())


def _test_images(seen: _Seen, folder: Path, request: CheckRequest, listener: Listener) -> ImageFolder:
    listener.stage(f"Looking at the test images in {folder}")
    return scan(
        folder,
        classes=seen.found.classes,
        labels=request.labels,
        follow_links=request.follow_links,
        on_progress=listener.progress,
    )


def _leaks(seen: _Seen, test: ImageFolder, listener: Listener) -> list[Finding]:
    """Test images that are among the images, and those that can't be read."""
    other = image_stats(test, on_progress=listener.progress)
    readable = np.flatnonzero(other.readable)
    by_digest: dict[str, list[int]] = {}
    for place, row in enumerate(seen.rows):
        by_digest.setdefault(seen.found.digests[row], []).append(place)
    pairs = set(crossing(seen.looks.grey[seen.rows], other.grey[readable]))
    pairs |= {(place, number) for number, row in enumerate(readable) for place in by_digest.get(test.digests[row], ())}
    name = test.path.resolve().name
    named = [f"{name}/{file}" for file in test.files]
    theirs = [named[row] for row in readable]
    bad = file_findings.unreadable(named, other, {f"{name}/{file}": why for file, why in test.unopened.items()})
    return [
        *copy_findings.leaks(sorted(pairs), seen.names, theirs),
        *(replace(one, detail=f"{OF_TEST}{one.detail}") for one in bad),
    ]


def _shortcuts(seen: _Seen) -> list[Finding]:
    """What tells the class without the picture."""
    folds = _folds(seen)
    if not folds:
        return []
    moments = [
        float(seen.looks.taken[row]) or (seen.found.path / file).stat().st_mtime
        for row, file in enumerate(seen.found.files)
    ]
    given = tables(seen.looks, seen.rows, moments)
    return list(shortcuts(given, seen.labels, folds, seen.found.classes))


def _folds(seen: _Seen) -> list[tuple[IntArray, IntArray]]:
    """Training and validation rows; none where groups are too few or too uneven, which is said elsewhere."""
    count = min(class_sizes.FOLDS, class_sizes.possible_folds(seen.labels, seen.units, len(seen.found.classes)))
    if count < 2:
        return []
    try:
        folds = make_folds(seen.labels, folds=count, seed=0, groups=seen.units)
    except DataError:
        return []
    return [(fold.train, fold.val) for fold in folds]


def _thumbnails(data: Path, test: Path | None, told: Sequence[Finding], listener: Listener) -> dict[str, str]:
    """Of the first files of each finding, those that can be shown."""
    wanted = list(dict.fromkeys(file for one in told for file in _first(one)))

    def drawn(file: str) -> str | None:
        path = data / file
        if test is not None and not path.exists():
            path = test.resolve().parent / file
        try:
            return encoded(miniature(path, side=_SIDE))
        except UnreadableImage:
            return None

    pictures = map_in_threads(drawn, wanted, "drawing thumbnails", listener.progress)
    return {file: picture for file, picture in zip(wanted, pictures, strict=True) if picture is not None}


def _first(one: Finding) -> list[str]:
    if not one.sets:
        return list(one.files[:_SHOWN])
    shown: list[str] = []
    for some in one.sets:  # whole ones
        if shown and len(shown) + len(some) > _SHOWN:
            break
        shown += some[:_SHOWN]
    return shown
