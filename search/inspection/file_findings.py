"""Findings on single files: unreadable, unusual, blank, dark or bright, blurry, of an unusual size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.data.image_stats import ImageStats
from search.inspection.findings import Finding, Severity

BLANK_CONTRAST: Final = 4 / 255
"""Standard deviation of grey (0..1) below which an image is blank."""

FAR: Final = 5.0
"""Distance from the median, in robust standard deviations, beyond which an image is unusual. Iglewicz and Hoaglin
(1993) use 3.5, but images vary more than a normal distribution does."""

_SUFFIXES: Final = {
    "JPEG": {".jpg", ".jpeg", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jfif"},  # by many phones: a JPEG followed by a second, smaller picture
    "PNG": {".png"},
    "BMP": {".bmp"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
}
_PLAIN_MODES: Final = {"L", "RGB"}
_LEAST_SPREAD: Final = (
    0.02  # smallest standard deviation assumed, of shares and logarithms: small differences never count
)
_LEAST_TO_JUDGE: Final = 20  # smallest number of images for which unusual ones are reported

Numbers = npt.NDArray[np.floating[Any]]


def unreadable(files: Sequence[str], stats: ImageStats, unopened: dict[str, str]) -> Iterator[Finding]:
    """Yield one finding for each reason why files can't be read.

    Args:
        files: n file names.
        stats: statistics of these n files.
        unopened: further file that could not be opened -> reason.
    """
    reasons = dict(unopened) | {file: why for file, why in zip(files, stats.reasons, strict=True) if why}
    for reason in sorted(set(reasons.values())):
        bad = tuple(sorted(file for file, why in reasons.items() if why == reason))
        yield Finding(
            kind="corrupt",
            severity=Severity.WARNING,
            detail=f"{_counted(bad)} left out: {reason}. Repair or remove {_them(bad)}.",
            files=bad,
        )


def unlabelled(files: Sequence[str], missing_files: Sequence[str]) -> Iterator[Finding]:
    """Yield findings on a CSV of labels that does not match the images; none if it does.

    Args:
        files: images that the CSV does not name.
        missing_files: file names in the CSV for which there is no image.
    """
    if files:
        yield Finding(
            kind="odd-file",
            severity=Severity.WARNING,
            detail=f"{_counted(files)} not in the label file, and left out. Add rows to use {_them(files)}.",
            files=tuple(files),
        )
    if missing_files:
        named = ", ".join(missing_files[:3]) + (" ..." if len(missing_files) > 3 else "")
        noun = "file that is" if len(missing_files) == 1 else "files that are"
        yield Finding(
            kind="odd-file",
            severity=Severity.WARNING,
            detail=f"The label file names {len(missing_files):,} {noun} not in the folder: {named}",
        )


def unusual(files: Sequence[str], stats: ImageStats) -> Iterator[Finding]:
    """Yield findings on wrong file endings, animations, more than 8 bits a channel, and mixed colour modes.

    Args:
        files: n file names.
        stats: statistics of these n files.
    """
    readable = stats.readable
    wrong = _where(
        files,
        np.array(
            [
                bool(form) and PurePosixPath(file).suffix.lower() not in _SUFFIXES.get(form, {""})
                for file, form in zip(files, stats.formats, strict=True)
            ]
        )
        & readable,
    )
    if wrong:
        yield Finding(
            kind="odd-file",
            severity=Severity.NOTE,
            detail=f"{_counted(wrong)} named with an ending that does not match the content. The ending is ignored.",
            files=wrong,
        )
    moving = _where(files, stats.frames > 1)
    if moving:
        yield Finding(
            kind="odd-file",
            severity=Severity.WARNING,
            detail=f"{_have(moving)} several frames or pages; only the first one is used.",
            files=moving,
        )
    deep = _where(files, stats.bits > 8)
    if deep:
        yield Finding(
            kind="odd-file",
            severity=Severity.NOTE,
            detail=f"{_have(deep)} more than 8 bits a channel; all are scaled to 8 bits by a common white level.",
            files=deep,
        )
    mixed = sorted({mode for mode, good in zip(stats.modes, readable, strict=True) if good})
    if len(mixed) > 1 and not set(mixed) <= _PLAIN_MODES:
        odd = _where(files, np.array([mode not in _PLAIN_MODES for mode in stats.modes]) & readable & (stats.bits == 8))
        if odd:
            yield Finding(
                kind="odd-file",
                severity=Severity.NOTE,
                detail=f"The files have several colour modes ({', '.join(mixed)}). All become grey or RGB, and "
                "transparent parts become white.",
                files=odd,
            )


def appearance(files: Sequence[str], stats: ImageStats) -> Iterator[Finding]:
    """Yield findings on blank images, and on images that are much darker, brighter or less sharp than the rest.

    Args:
        files: n file names.
        stats: statistics of these n files.
    """
    blank = stats.readable & (stats.contrast < BLANK_CONTRAST)
    if blank.any():
        bad = _where(files, blank)
        yield Finding(
            kind="blank",
            severity=Severity.WARNING,
            detail=f"{_counted(bad)} almost of one colour, so that nothing can be learned from {_them(bad)}. Check and "
            f"remove {_them(bad)}.",
            files=bad,
        )
    rest = stats.readable & ~blank
    if rest.sum() < _LEAST_TO_JUDGE:
        return
    dark = _far(stats.brightest, rest, below=True) & (stats.brightest < 0.35)
    bright = _far(stats.darkest, rest, below=False) & (stats.darkest > 0.9)
    for what, odd in (("darker", dark), ("brighter", bright)):
        if odd.any():
            yield Finding(
                kind="dark",
                severity=Severity.NOTE,
                detail=f"{_counted(_where(files, odd))} much {what} than the others.",
                files=_where(files, odd),
            )
    with np.errstate(divide="ignore"):
        blurred = _far(np.log(np.maximum(stats.sharpness, 1e-6)), rest, below=True)
    if blurred.any():
        yield Finding(
            kind="blurry",
            severity=Severity.NOTE,
            detail=f"{_counted(_where(files, blurred))} much less sharp than the others.",
            files=_where(files, blurred),
        )


def sizes(files: Sequence[str], stats: ImageStats, *, native: bool = False) -> Iterator[Finding]:
    """Yield a finding on images whose size or aspect ratio is far from the median.

    Args:
        files: n file names.
        stats: statistics of these n files.
        native: whether the images will nearly keep their own sizes, instead of being stretched to squares.
    """
    good = stats.readable
    if good.sum() < _LEAST_TO_JUDGE:
        return
    width, height = np.maximum(stats.width, 1), np.maximum(stats.height, 1)
    area, shape = np.log(width * height), np.log(width / height)
    odd = good & (_far(area, good, below=None) & (abs(area - np.median(area[good])) > np.log(4)))
    odd |= good & (_far(shape, good, below=None) & (abs(shape - np.median(shape[good])) > np.log(1.5)))
    if odd.any():
        usual = f"{int(np.median(width[good]))} x {int(np.median(height[good]))}"
        bad = _where(files, odd)
        square = "all images are stretched to the same square, which distorts these most"
        fate = "each image is resized to the nearest of a few shapes" if native else square
        yield Finding(
            kind="odd-size",
            severity=Severity.NOTE,
            detail=f"{_counted(bad)} of an unusual size or shape (the median is {usual} pixels): {fate}.",
            files=bad,
        )


def _far(values: Numbers, among: npt.NDArray[np.bool_], *, below: bool | None) -> npt.NDArray[np.bool_]:
    """Mask `(n,)` of the values in `among` that are far from their median.

    below: True: far below it, False: far above it, None: either.
    """
    middle = np.median(values[among])
    spread = max(_LEAST_SPREAD, 1.4826 * float(np.median(np.abs(values[among] - middle))))
    off = (values - middle) / spread
    far = np.abs(off) > FAR if below is None else (off < -FAR if below else off > FAR)
    return np.asarray(far & among, np.bool_)


def _where(files: Sequence[str], chosen: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(files[row] for row in np.flatnonzero(chosen).tolist())


def _counted(files: Sequence[str]) -> str:
    return "1 file is" if len(files) == 1 else f"{len(files):,} files are"


def _have(files: Sequence[str]) -> str:
    return "1 file has" if len(files) == 1 else f"{len(files):,} files have"


def _them(files: Sequence[str]) -> str:
    return "it" if len(files) == 1 else "them"
