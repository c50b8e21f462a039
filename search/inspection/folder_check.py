"""The inspection of a folder of images, without any training."""

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
from search.data.duplicates import crossing
from search.data.folds import make_folds
from search.data.format_choice import frequent_sizes
from search.data.image_stats import ImageStats
from search.data.parallel import map_in_threads
from search.data.scan import ImageFolder
from search.data.scanned_folder import Copies, ScannedFolder, scan_folder
from search.data.thumbnails import encoded
from search.errors import DataError
from search.events import Listener
from search.inspection import class_findings, file_findings
from search.inspection.copy_findings import copy_findings, leak_findings
from search.inspection.findings import OF_TEST, Finding, Inspection, Severity
from search.inspection.shortcut_findings import shortcut_findings, shortcut_tables
from search.selection.baselines import baselines

_SHOWN: Final = 24  # thumbnails of a finding
_SIDE: Final = 112  # pixels of a thumbnail
_METRIC: Final = "balanced_accuracy"
_ORDER: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckRequest:
    """The folders and tables to inspect."""

    data: Path
    test: Path | None = None
    groups: Path | None = None
    labels: Path | None = None  # CSV file, where sub-folders are no classes
    follow_links: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Readable:
    """The readable images of a folder, compared with each other."""

    files: ImageFolder
    stats: ImageStats  # of all files
    rows: IntArray  # (n,) of the readable ones among all files
    names: tuple[str, ...]  # (n,) of their files
    labels: IntArray  # (n,)
    copies: Copies

    @property
    def counts(self) -> dict[str, int]:
        return {name: int((self.labels == label).sum()) for label, name in enumerate(self.files.classes)}

    @property
    def units(self) -> IntArray | None:
        """(n,) group of each image; None where each is on its own."""
        return self.copies.groups


def inspect(request: CheckRequest, listener: Listener) -> Inspection:
    """Look at every file, compare the images with each other, and try simple methods on them.

    Args:
        request: names the folders.
        listener: notified of stages and progress.

    Raises:
        DataError: the folder has no classes with images, or the group file can't be used.
    """
    started = time.monotonic()
    scanned = scan_folder(
        request.data, listener, labels=request.labels, groups=request.groups, follow_links=request.follow_links
    )
    test_folder, test = request.test or scanned.files.test, None
    if test_folder is not None:
        test = scan_folder(
            test_folder,
            listener,
            classes=scanned.files.classes,
            labels=request.labels,
            follow_links=request.follow_links,
        )
    images = _readable(scanned)
    findings = _findings(images, test, native=False)
    listener.stage("Trying simple methods")
    folds = _folds(images)
    stats, rows = images.stats, images.rows
    simple = baselines(stats.colour[rows], images.labels, folds, _METRIC) if folds else {}
    return Inspection(
        folder=str(request.data),
        test=None if test_folder is None else str(test_folder),
        classes=images.counts,
        images=len(rows),
        findings=findings,
        sizes=frequent_sizes([Probe(int(stats.width[row]), int(stats.height[row]), False) for row in rows]),
        aspects=_aspects(stats.width[rows], stats.height[rows]),
        bits=dict(Counter(stats.bits[rows].tolist()).most_common()),
        modes=dict(Counter(stats.modes[row] for row in rows).most_common()),
        formats=dict(Counter(stats.formats[row] for row in rows).most_common()),
        units=len(rows) if images.units is None else len(np.unique(images.units)),
        folds=class_findings.possible_folds(images.labels, images.units, len(images.files.classes)),
        chance=1 / len(images.files.classes),
        baselines=simple,
        half=class_findings.half_width(images.labels, images.units, len(images.files.classes)),
        seconds=time.monotonic() - started,
        thumbnails=_thumbnails(request.data, test_folder, findings, listener),
    )


def _aspects(width: IntArray, height: IntArray) -> tuple[float, float, float]:
    least, median, most = np.quantile(width / np.maximum(1, height), (0, 0.5, 1))
    return float(least), float(median), float(most)


def check_briefly(scanned: ScannedFolder, test: ScannedFolder | None, *, native: bool) -> tuple[Finding, ...]:
    """Find the problems of the images of a search, without baselines and thumbnails.

    Args:
        scanned: the training images.
        test: the test images, if there are any.
        native: the images will keep their sizes.

    Returns:
        The findings, the gravest first.

    Raises:
        DataError: not one image can be read.
    """
    return _findings(_readable(scanned), test, native=native)


def _readable(scanned: ScannedFolder) -> _Readable:
    files, stats = scanned.files, scanned.stats()
    rows = np.flatnonzero(stats.readable)
    if not len(rows):
        raise DataError(f"not one image in {files.path} can be read. Expected png, jpg, bmp, gif, tif or webp images.")
    return _Readable(
        files=files,
        stats=stats,
        rows=rows,
        names=tuple(files.files[row] for row in rows),
        labels=files.labels[rows],
        copies=scanned.copies(rows),
    )


def _findings(images: _Readable, test: ScannedFolder | None, *, native: bool) -> tuple[Finding, ...]:
    files, stats = images.files, images.stats
    absent = [name for name in files.absent if test is None or name in test.files.absent]
    findings = [
        *file_findings.unreadable(files.files, stats, dict(files.unopened)),
        *copy_findings(images.copies, images.names, images.labels, files.classes, _blank(images)),
        *file_findings.appearance(files.files, stats),
        *file_findings.unlabelled(files.unlabelled, absent),
        *file_findings.sizes(files.files, stats, native=native),
        *file_findings.unusual(files.files, stats),
        *class_findings.class_findings(images.counts, images.labels, images.units),
        *(() if test is None else _leaks(images, test)),
        *_shortcuts(images),
    ]
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))


def _blank(images: _Readable) -> frozenset[int]:
    """Rows of the readable images that show nothing."""
    return frozenset(np.flatnonzero(images.stats.contrast[images.rows] < file_findings.BLANK_CONTRAST).tolist())


def _leaks(images: _Readable, scanned_test: ScannedFolder) -> list[Finding]:
    """Test images that are among the images, and those that can't be read."""
    test, test_stats = scanned_test.files, scanned_test.stats()
    readable = np.flatnonzero(test_stats.readable)
    by_digest: dict[str, list[int]] = {}
    for own, row in enumerate(images.rows):
        by_digest.setdefault(images.files.digests[row], []).append(own)
    pairs = set(crossing(images.stats.grey[images.rows], test_stats.grey[readable]))
    pairs |= {(own, other) for other, row in enumerate(readable) for own in by_digest.get(test.digests[row], ())}
    name = test.path.resolve().name
    named = [f"{name}/{file}" for file in test.files]
    unreadable = file_findings.unreadable(
        named, test_stats, {f"{name}/{file}": why for file, why in test.unopened.items()}
    )
    return [
        *leak_findings(sorted(pairs), images.names, [named[row] for row in readable]),
        *(replace(finding, detail=f"{OF_TEST}{finding.detail}") for finding in unreadable),
    ]


def _shortcuts(images: _Readable) -> list[Finding]:
    """Findings on what tells the class without the picture."""
    folds = _folds(images)
    if not folds:
        return []
    moments = [
        float(images.stats.taken[row]) or (images.files.path / file).stat().st_mtime
        for row, file in enumerate(images.files.files)
    ]
    tables = shortcut_tables(images.stats, images.rows, moments)
    return list(shortcut_findings(tables, images.labels, folds, images.files.classes))


def _folds(images: _Readable) -> list[tuple[IntArray, IntArray]]:
    """Training and validation rows; none where groups are too few or too uneven, which is said elsewhere."""
    count = min(
        class_findings.FOLDS, class_findings.possible_folds(images.labels, images.units, len(images.files.classes))
    )
    if count < 2:
        return []
    try:
        folds = make_folds(images.labels, folds=count, seed=0, groups=images.units)
    except DataError:
        return []
    return [(fold.train, fold.val) for fold in folds]


def _thumbnails(data: Path, test: Path | None, findings: Sequence[Finding], listener: Listener) -> dict[str, str]:
    """JPEG in base64 of the first files of each finding, without those that can't be read."""
    wanted = list(dict.fromkeys(file for finding in findings for file in _first_files(finding)))

    def draw(file: str) -> str | None:
        path = data / file
        if test is not None and not path.exists():
            path = test.resolve().parent / file
        try:
            return encoded(miniature(path, side=_SIDE))
        except UnreadableImage:
            return None

    pictures = map_in_threads(draw, wanted, "drawing thumbnails", listener.progress)
    return {file: picture for file, picture in zip(wanted, pictures, strict=True) if picture is not None}


def _first_files(finding: Finding) -> list[str]:
    if not finding.sets:
        return list(finding.files[:_SHOWN])
    shown: list[str] = []
    for files in finding.sets:  # as long as a whole set can be shown
        if shown and len(shown) + len(files) > _SHOWN:
            break
        shown += files[:_SHOWN]
    return shown
