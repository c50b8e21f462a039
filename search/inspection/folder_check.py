"""Inspection of an image folder for problems, without training a network."""

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
    """The folders and CSV files to inspect.

    Attributes:
        data: folder of the training images.
        test: folder of the test images; None: the test folder in `data`, if there is one.
        groups: CSV file with the columns `file` and `group`; None without groups.
        labels: CSV file with the columns `file` and `label`; None: sub-folders are the classes.
        follow_links: also read images outside the folders that links in them point to.
    """

    data: Path
    test: Path | None = None
    groups: Path | None = None
    labels: Path | None = None
    follow_links: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Readable:
    """The n readable images of a folder, and the duplicates among them."""

    files: ImageFolder
    stats: ImageStats  # of all files
    rows: IntArray  # (n,) row numbers of the readable images among all files
    names: tuple[str, ...]  # n file names
    labels: IntArray  # (n,) class of each image, 0..K-1
    copies: Copies

    @property
    def counts(self) -> dict[str, int]:
        return {name: int((self.labels == label).sum()) for label, name in enumerate(self.files.classes)}

    @property
    def units(self) -> IntArray | None:
        """(n,) group of each image; None without groups."""
        return self.copies.groups


def inspect(request: CheckRequest, listener: Listener) -> Inspection:
    """Inspect an image folder: read every file, find duplicates and other problems, and score simple baselines.

    Args:
        request: the folders and CSV files.
        listener: notified of stages and progress.

    Raises:
        DataError: a folder or a CSV file can't be used, or no image can be read.
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
        test: the test images; None without.
        native: whether the images will nearly keep their own sizes, instead of being stretched to squares.

    Returns:
        The findings, the most severe first.

    Raises:
        DataError: no training image can be read.
    """
    return _findings(_readable(scanned), test, native=native)


def _readable(scanned: ScannedFolder) -> _Readable:
    files, stats = scanned.files, scanned.stats()
    rows = np.flatnonzero(stats.readable)
    if not len(rows):
        raise DataError(
            f"none of the images in {files.path} can be read. Expected png, jpg, bmp, gif, tif or webp images."
        )
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
    missing_files = [name for name in files.missing_files if test is None or name in test.files.missing_files]
    findings = [
        *file_findings.unreadable(files.files, stats, dict(files.unopened)),
        *copy_findings(images.copies, images.names, images.labels, files.classes, _blank(images)),
        *file_findings.appearance(files.files, stats),
        *file_findings.unlabelled(files.unlabelled, missing_files),
        *file_findings.sizes(files.files, stats, native=native),
        *file_findings.unusual(files.files, stats),
        *class_findings.class_findings(images.counts, images.labels, images.units),
        *(() if test is None else _leaks(images, test)),
        *_shortcuts(images),
    ]
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))


def _blank(images: _Readable) -> frozenset[int]:
    """Row numbers, among the readable images, of blank images."""
    return frozenset(np.flatnonzero(images.stats.contrast[images.rows] < file_findings.BLANK_CONTRAST).tolist())


def _leaks(images: _Readable, scanned_test: ScannedFolder) -> list[Finding]:
    """Findings on test images that are also training images, and on test images that can't be read."""
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
    """Findings on features that predict the class without the content of the picture."""
    folds = _folds(images)
    if not folds:
        return []
    timestamps = [
        float(images.stats.taken[row]) or (images.files.path / file).stat().st_mtime
        for row, file in enumerate(images.files.files)
    ]
    tables = shortcut_tables(images.stats, images.rows, timestamps)
    return list(shortcut_findings(tables, images.labels, folds, images.files.classes))


def _folds(images: _Readable) -> list[tuple[IntArray, IntArray]]:
    """Training and validation rows of each fold; empty if the classes or groups allow no cross-validation."""
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
    """File -> JPEG in base64, for the first readable files of each finding."""
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
    for files in finding.sets:  # only whole sets
        if shown and len(shown) + len(files) > _SHOWN:
            break
        shown += files[:_SHOWN]
    return shown
