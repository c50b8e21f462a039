"""What an inspection says on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from reports.wording import counted, duration, number, shown
from search.inspection.findings import KINDS, Finding, Inspection, Severity

WIDTH: Final = 100
_FILES: Final = 3  # named under a finding
_CLASSES: Final = 12  # named
_SIZES: Final = 3
_SIGNS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def inspection_lines(found: Inspection, page: Path) -> list[str]:
    """Plain text: what is there, what is wrong, what can be expected, where the page is."""
    lines = [*_wrapped(headline(found)), *_wrapped(contents(found)), *_wrapped(expectation(found))]
    for one in found.findings:
        lines += ["", *_finding(one)]
    if not found.findings:
        lines += ["", "Nothing to complain about."]
    return [*lines, "", f"Page: {page}"]


def headline(found: Inspection) -> str:
    """What was looked at."""
    bad = sum(len(one.files) for one in found.findings if one.kind == "corrupt")
    unread = f", {counted(bad, 'file')} unreadable" if bad else ""
    units = "" if found.units == found.images else f" ({found.units:,} that are not copies or of one group)"
    what = f"{counted(found.images, 'image')}{units} in {counted(len(found.classes), 'class', 'classes')}{unread}"
    return f"{shown(found.folder)}: {what}; looked at in {duration(found.seconds)}."


def contents(found: Inspection) -> str:
    """Classes, sizes, shapes, modes and depths, the most frequent first."""
    classes = sorted(found.classes.items(), key=lambda pair: -pair[1])
    most, least = classes[0][1], classes[-1][1]
    ratio = f" (1 : {most / least:.1f})" if least and most >= 2 * least else ""
    sizes = list(found.sizes.items())
    others = " ..." if len(sizes) > _SIZES else ""
    bits = ", ".join(map(str, found.bits))
    return (
        f"Classes{ratio}: {_listed(classes[:_CLASSES])}{' ...' if len(classes) > _CLASSES else ''}. "
        f"Sizes: {_listed(sizes[:_SIZES])}{others}; width / height {aspects(found)}. "
        f"Colour modes: {_listed(found.modes.items())}; {bits} bits a channel. "
        + ("No cross-validation is possible." if found.folds < 2 else f"Up to {found.folds} folds are possible.")
    )


def aspects(found: Inspection) -> str:
    """Of the images, in words."""
    least, median, most = found.aspects
    return f"{median:.2f}" if most - least < 0.005 else f"{least:.2f} to {most:.2f}, half of them below {median:.2f}"


def _listed(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{shown(name)} {count:,}" for name, count in pairs)


def expectation(found: Inspection) -> str:
    """What simple methods reach, and what so many images can tell."""
    parts = []
    if found.baselines:
        best = max(("knn", "logistic"), key=lambda name: found.baselines[name])
        named = {"knn": "nearest neighbours", "logistic": "logistic regression"}[best]
        parts.append(
            f"Simple methods reach a balanced accuracy of {number(found.baselines[best], 2)} ({named} on small "
            f"pictures; guessing: {number(found.chance, 2)})."
        )
    if found.half is not None:
        parts.append(f"So many images can tell a score to about +- {number(found.half, 2)}.")
    return " ".join(parts)


def _finding(one: Finding) -> list[str]:
    lines = _wrapped(f"{_SIGNS[one.severity]}: {KINDS[one.kind]}. {shown(one.detail)}", after="  ")
    named = [" = ".join(some[:_FILES]) for some in one.sets] if one.sets else list(one.files)
    lines += [f"    {shown(text)}" for text in named[:_FILES]]
    if len(named) > _FILES:
        lines.append(f"    and {len(named) - _FILES:,} more")
    return lines


def _wrapped(text: str, after: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=after, break_long_words=False, break_on_hyphens=False)
