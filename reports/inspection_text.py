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


def inspection_lines(inspection: Inspection, page: Path) -> list[str]:
    """Return plain text: contents of the folder, expected scores, findings and the path of the page."""
    lines = [*_wrapped(headline(inspection)), *_wrapped(contents(inspection)), *_wrapped(expectation(inspection))]
    for finding in inspection.findings:
        lines += ["", *_finding_lines(finding)]
    if not inspection.findings:
        lines += ["", "No problems found."]
    return [*lines, "", f"Report: {page}"]


def headline(inspection: Inspection) -> str:
    """Return the folder with its number of images and classes."""
    bad = sum(len(finding.files) for finding in inspection.findings if finding.kind == "corrupt")
    unread = f", {counted(bad, 'file')} unreadable" if bad else ""
    units = (
        ""
        if inspection.units == inspection.images
        else f" ({inspection.units:,} without copies and images of the same group)"
    )
    classes = counted(len(inspection.classes), "class", "classes")
    contents = f"{counted(inspection.images, 'image')}{units} in {classes}{unread}"
    return f"{shown(inspection.folder)}: {contents}; checked in {duration(inspection.seconds)}."


def contents(inspection: Inspection) -> str:
    """Return classes, sizes, aspect ratios, colour modes and bit depths, the most frequent first."""
    classes = sorted(inspection.classes.items(), key=lambda pair: -pair[1])
    most, least = classes[0][1], classes[-1][1]
    ratio = f" (1 : {most / least:.1f})" if least and most >= 2 * least else ""
    sizes = list(inspection.sizes.items())
    others = " ..." if len(sizes) > _SIZES else ""
    bits = ", ".join(map(str, inspection.bits))
    return (
        f"Classes{ratio}: {_listed(classes[:_CLASSES])}{' ...' if len(classes) > _CLASSES else ''}. "
        f"Sizes: {_listed(sizes[:_SIZES])}{others}; width / height {aspects(inspection)}. "
        f"Colour modes: {_listed(inspection.modes.items())}; {bits} bits per channel. "
        + (
            "There are too few images for cross-validation."
            if inspection.folds < 2
            else f"Up to {inspection.folds} folds are possible."
        )
    )


def aspects(inspection: Inspection) -> str:
    """Return the range and median of width / height."""
    least, median, most = inspection.aspects
    return f"{median:.2f}" if most - least < 0.005 else f"{least:.2f} to {most:.2f}, median {median:.2f}"


def _listed(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{shown(name)} ({count:,})" for name, count in pairs)


def expectation(inspection: Inspection) -> str:
    """Return the score of simple methods and the precision of a score with this number of images."""
    parts = []
    if inspection.baselines:
        best = max(("knn", "logistic"), key=lambda name: inspection.baselines[name])
        named = {"knn": "nearest neighbours", "logistic": "logistic regression"}[best]
        parts.append(
            f"Simple methods reach a balanced accuracy of {number(inspection.baselines[best], 2)} ({named} on images "
            f"scaled down; chance: {number(inspection.chance, 2)})."
        )
    if inspection.half is not None:
        parts.append(f"With this number of images, a score is accurate to about ± {number(inspection.half, 2)}.")
    return " ".join(parts)


def _finding_lines(finding: Finding) -> list[str]:
    lines = _wrapped(f"{_LABELS[finding.severity]}: {KINDS[finding.kind]}. {shown(finding.detail)}", after="  ")
    named = [" = ".join(some[:_FILES]) for some in finding.sets] if finding.sets else list(finding.files)
    lines += [f"    {shown(text)}" for text in named[:_FILES]]
    if len(named) > _FILES:
        lines.append(f"    and {len(named) - _FILES:,} more")
    return lines


def _wrapped(text: str, after: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=after, break_long_words=False, break_on_hyphens=False)
