"""The summary of an inspection on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from reports.wording import counted, duration, number, shown
from search.inspection.findings import KINDS, Finding, Inspection, Severity

WIDTH: Final = 100
_FILES: Final = 3  # files listed per finding
_CLASSES: Final = 12  # classes listed
_SIZES: Final = 3  # image sizes listed
_LABELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def inspection_lines(found: Inspection, page: Path) -> list[str]:
    """Return plain text: contents of the folder, expected scores, findings and the path of the page."""
    lines = [*_wrapped(headline(found)), *_wrapped(contents(found)), *_wrapped(expectation(found))]
    for one in found.findings:
        lines += ["", *_finding(one)]
    if not found.findings:
        lines += ["", "No problems found."]
    return [*lines, "", f"Report: {page}"]


def headline(found: Inspection) -> str:
    """Return the folder with its number of images and classes."""
    bad = sum(len(one.files) for one in found.findings if one.kind == "corrupt")
    unread = f", {counted(bad, 'file')} unreadable" if bad else ""
    units = "" if found.units == found.images else f" ({found.units:,} without copies and images of the same group)"
    what = f"{counted(found.images, 'image')}{units} in {counted(len(found.classes), 'class', 'classes')}{unread}"
    return f"{shown(found.folder)}: {what}; checked in {duration(found.seconds)}."


def contents(found: Inspection) -> str:
    """Return classes, sizes, aspect ratios, colour modes and bit depths, the most frequent first."""
    classes = sorted(found.classes.items(), key=lambda pair: -pair[1])
    most, least = classes[0][1], classes[-1][1]
    ratio = f" (1 : {most / least:.1f})" if least and most >= 2 * least else ""
    sizes = list(found.sizes.items())
    others = " ..." if len(sizes) > _SIZES else ""
    bits = ", ".join(map(str, found.bits))
    return (
        f"Classes{ratio}: {_listed(classes[:_CLASSES])}{' ...' if len(classes) > _CLASSES else ''}. "
        f"Sizes: {_listed(sizes[:_SIZES])}{others}; width / height {aspects(found)}. "
        f"Colour modes: {_listed(found.modes.items())}; {bits} bits per channel. "
        + (
            "There are too few images for cross-validation."
            if found.folds < 2
            else f"Up to {found.folds} folds are possible."
        )
    )


def aspects(found: Inspection) -> str:
    """Return the range and median of width / height."""
    least, median, most = found.aspects
    return f"{median:.2f}" if most - least < 0.005 else f"{least:.2f} to {most:.2f}, median {median:.2f}"


def _listed(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{shown(name)} {count:,}" for name, count in pairs)


def expectation(found: Inspection) -> str:
    """Return the score of simple methods and the precision of a score with this number of images."""
    parts = []
    if found.baselines:
        best = max(("knn", "logistic"), key=lambda name: found.baselines[name])
        named = {"knn": "nearest neighbours", "logistic": "logistic regression"}[best]
        parts.append(
            f"Simple methods reach a balanced accuracy of {number(found.baselines[best], 2)} ({named} on images scaled "
            f"down; chance: {number(found.chance, 2)})."
        )
    if found.half is not None:
        parts.append(f"With this number of images, a score is accurate to about ± {number(found.half, 2)}.")
    return " ".join(parts)


def _finding(one: Finding) -> list[str]:
    lines = _wrapped(f"{_LABELS[one.severity]}: {KINDS[one.kind]}. {shown(one.detail)}", after="  ")
    named = [" = ".join(some[:_FILES]) for some in one.sets] if one.sets else list(one.files)
    lines += [f"    {shown(text)}" for text in named[:_FILES]]
    if len(named) > _FILES:
        lines.append(f"    and {len(named) - _FILES:,} more")
    return lines


def _wrapped(text: str, after: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=after, break_long_words=False, break_on_hyphens=False)
