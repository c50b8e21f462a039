"""`check.html`: the problems of an image folder as one file that works offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from reports.inspection_text import aspects, expectation, headline
from reports.page import environment
from reports.wording import folder_title
from search.inspection.findings import KINDS, Finding, Inspection, Severity

_SHOWN_FILES: Final = 200  # files listed per finding
_TITLES: Final = {
    Severity.ERROR: "Errors to fix before a search",
    Severity.WARNING: "Warnings",
    Severity.NOTE: "Notes",
}


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image file with its thumbnail (JPEG, base64)."""

    file: str
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding as it is shown on the page."""

    title: str
    severity: str
    finding: Finding
    sets: tuple[tuple[Thumbnail, ...], ...]  # images that belong together
    pictures: tuple[Thumbnail, ...]
    files: tuple[str, ...]  # files that are listed
    further: int  # number of files that are not listed


def inspection_page(found: Inspection) -> str:
    """Return the whole page as HTML, with all names and texts escaped; it loads nothing from anywhere."""
    return environment().get_template("check.html").render(**_content(found))


def _content(found: Inspection) -> dict[str, Any]:
    entries = [_entry(one, found) for one in found.findings]
    most = max(found.classes.values(), default=1) or 1
    return {
        "found": found,
        "title": folder_title(found.folder),
        "headline": headline(found),
        "expectation": expectation(found),
        "verdict": _verdict(found),
        "parts": [
            (title, [entry for entry in entries if entry.severity == str(severity)])
            for severity, title in _TITLES.items()
        ],
        "aspects": aspects(found),
        "classes": [(name, count, round(100 * count / most, 1)) for name, count in found.classes.items()],
    }


def _verdict(found: Inspection) -> str:
    kinds = {one.severity for one in found.findings}
    if Severity.ERROR in kinds:
        return "There are errors to fix before scores mean anything"
    return "Check the warnings before a search" if Severity.WARNING in kinds else "Ready for a search"


def _entry(one: Finding, found: Inspection) -> Entry:
    def picture(file: str) -> Thumbnail:
        return Thumbnail(file, found.thumbnails.get(file))

    sets = tuple(tuple(map(picture, some)) for some in one.sets if any(file in found.thumbnails for file in some))
    pictures = () if one.sets else tuple(picture(file) for file in one.files if file in found.thumbnails)
    listed = one.files[:_SHOWN_FILES]
    return Entry(KINDS[one.kind], str(one.severity), one, sets, pictures, listed, len(one.files) - len(listed))
