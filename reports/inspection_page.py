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
    images: tuple[Thumbnail, ...]
    files: tuple[str, ...]  # files that are listed
    further: int  # number of files that are not listed


def inspection_page(inspection: Inspection) -> str:
    """Return the whole page as HTML, with all names and texts escaped; it loads nothing from anywhere."""
    return environment().get_template("check.html").render(**_content(inspection))


def _content(inspection: Inspection) -> dict[str, Any]:
    entries = [_entry(finding, inspection) for finding in inspection.findings]
    most = max(inspection.classes.values(), default=1) or 1
    return {
        "inspection": inspection,
        "title": folder_title(inspection.folder),
        "headline": headline(inspection),
        "expectation": expectation(inspection),
        "conclusion": _conclusion(inspection),
        "parts": [
            (title, [entry for entry in entries if entry.severity == str(severity)])
            for severity, title in _TITLES.items()
        ],
        "aspects": aspects(inspection),
        "classes": [(name, count, round(100 * count / most, 1)) for name, count in inspection.classes.items()],
    }


def _conclusion(inspection: Inspection) -> str:
    severities = {finding.severity for finding in inspection.findings}
    if Severity.ERROR in severities:
        return "There are errors to fix before scores mean anything"
    return "Check the warnings before a search" if Severity.WARNING in severities else "Ready for a search"


def _entry(finding: Finding, inspection: Inspection) -> Entry:
    def thumbnail(file: str) -> Thumbnail:
        return Thumbnail(file, inspection.thumbnails.get(file))

    sets = tuple(
        tuple(map(thumbnail, some)) for some in finding.sets if any(file in inspection.thumbnails for file in some)
    )
    images = () if finding.sets else tuple(thumbnail(file) for file in finding.files if file in inspection.thumbnails)
    listed = finding.files[:_SHOWN_FILES]
    return Entry(
        KINDS[finding.kind], str(finding.severity), finding, sets, images, listed, len(finding.files) - len(listed)
    )
