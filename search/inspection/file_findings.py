"""Findings on single files: unreadable, unusual, blank, dark, blurry, of an unusual size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.data.image_stats import ImageStats
from search.inspection.findings import Finding, Severity

BLANK_CONTRAST: Final = 4 / 255
"""Standard deviation of grey (0..1) below which an image shows nothing."""

FAR: Final = 5.0
"""Robust deviations from the median from which on an image is unusual. Iglewicz and Hoaglin (1993) take 3.5, but images
vary more than a normal distribution does."""

_SUFFIXES: Final = {
    "JPEG": {".jpg", ".jpeg", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jfif"},  # of many phones: a JPEG with a second, smaller picture behind it
    "PNG": {".png"},
    "BMP": {".bmp"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
}
_PLAIN_MODES: Final = {"L", "RGB"}
_LEAST_SPREAD: Final = 0.02  # of shares and logarithms: where all are alike, a little is still not far
_LEAST_TO_JUDGE: Final = 20  # images, to know what is usual

Numbers = npt.NDArray[np.floating[Any]]


def unreadable(files: Sequence[str], stats: ImageStats, unopened: dict[str, str]) -> Iterator[Finding]:
    """Yield one finding for each reason why files can't be read.

    Args:
        files: `(n,)` names.
        stats: of the files.
        unopened: further files that could not be opened, with the reason.
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


def unlabelled(files: Sequence[str], absent: Sequence[str]) -> Iterator[Finding]:
    """Yield findings on images that a table of labels does not name, and on names in it that are no image's."""
    if files:
        yield Finding(
            kind="odd-file",
            severity=Severity.WARNING,
            detail=f"{_counted(files)} not in the table of labels, and left out.",
            files=tuple(files),
        )
    if absent:
        named = ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else "")
        yield Finding(
            kind="odd-file",
            severity=Severity.WARNING,
            detail=f"The table of labels names {len(absent):,} that {'is' if len(absent) == 1 else 'are'} not in the "
            f"folder: {named}",
        )


def unusual(files: Sequence[str], stats: ImageStats) -> Iterator[Finding]:
    """Yield findings on wrong file endings, animations, more than 8 bits a channel, and modes that are converted."""
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
            detail=f"{_counted(wrong)} named with an ending that does not fit the content; the content counts.",
            files=wrong,
        )
    moving = _where(files, stats.frames > 1)
    if moving:
        yield Finding(
            kind="odd-file",
            severity=Severity.WARNING,
            detail=f"{_counted(moving)} with several frames or pages; only the first is used.",
            files=moving,
        )
    deep = _where(files, stats.bits > 8)
    if deep:
        yield Finding(
            kind="odd-file",
            severity=Severity.NOTE,
            detail=f"{_counted(deep)} with more than 8 bits a channel; scaled by the bits that most of them use.",
            files=deep,
        )
    mixed = sorted({mode for mode, good in zip(stats.modes, readable, strict=True) if good})
    if len(mixed) > 1 and not set(mixed) <= _PLAIN_MODES:
        odd = _where(files, np.array([mode not in _PLAIN_MODES for mode in stats.modes]) & readable & (stats.bits == 8))
        if odd:
            yield Finding(
                kind="odd-file",
                severity=Severity.NOTE,
                detail=f"Colour modes are mixed ({', '.join(mixed)}); all become grey or RGB, transparent parts white.",
                files=odd,
            )


def appearance(files: Sequence[str], stats: ImageStats) -> Iterator[Finding]:
    """Yield findings on blank images, and on those much darker, brighter or less sharp than the rest."""
    blank = stats.readable & (stats.contrast < BLANK_CONTRAST)
    if blank.any():
        bad = _where(files, blank)
        yield Finding(
            kind="blank",
            severity=Severity.WARNING,
            detail=f"{_counted(bad)} of almost one colour: nothing can be learned from {_them(bad)}. Check, and remove "
            f"{_them(bad)}.",
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
    """Yield a finding on images far smaller, larger, wider or higher than the rest.

    Args:
        files: `(n,)` names.
        stats: of the files.
        native: the images will keep their sizes.
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
        square = "all are stretched to one square, which distorts these most"
        fate = "each gets the nearest of a few shapes" if native else square
        yield Finding(
            kind="odd-size",
            severity=Severity.NOTE,
            detail=f"{_counted(bad)} of a size or shape far from the usual (about {usual}): {fate}.",
            files=bad,
        )


def _far(values: Numbers, among: npt.NDArray[np.bool_], *, below: bool | None) -> npt.NDArray[np.bool_]:
    """Which values `(n,)` are far from the median of those in `among`: below it, above it, or (None) on either side."""
    middle = np.median(values[among])
    spread = max(_LEAST_SPREAD, 1.4826 * float(np.median(np.abs(values[among] - middle))))
    off = (values - middle) / spread
    far = np.abs(off) > FAR if below is None else (off < -FAR if below else off > FAR)
    return np.asarray(far & among, np.bool_)


def _where(files: Sequence[str], chosen: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(files[row] for row in np.flatnonzero(chosen).tolist())


def _counted(files: Sequence[str]) -> str:
    return "1 file is" if len(files) == 1 else f"{len(files):,} files are"


def _them(files: Sequence[str]) -> str:
    return "it" if len(files) == 1 else "them"
