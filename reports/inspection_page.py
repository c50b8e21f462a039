"""`check.html`: one file that works offline: what is wrong with the images, with pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from reports.inspection_text import aspects, expectation, headline
from reports.page import environment
from reports.wording import folder_title
from search.inspection.findings import KINDS, Finding, Inspection, Severity

_SHOWN_FILES: Final = 200  # named under a finding
_TITLES: Final = {
    Severity.ERROR: "To mend before a search",
    Severity.WARNING: "To look at",
    Severity.NOTE: "Good to know",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file with its thumbnail."""

    file: str
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding as it is shown."""

    title: str
    severity: str
    finding: Finding
    sets: tuple[tuple[Picture, ...], ...]  # that belong together
    pictures: tuple[Picture, ...]
    files: tuple[str, ...]  # to be named
    further: int  # files that are not named


def inspection_page(found: Inspection) -> str:
    """The whole page as HTML. Names and texts from outside are escaped; nothing is loaded from anywhere."""
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
        return "Something has to be mended before scores mean anything"
    return "Worth a look before a search" if Severity.WARNING in kinds else "Nothing stands against a search"


def _entry(one: Finding, found: Inspection) -> Entry:
    def picture(file: str) -> Picture:
        return Picture(file, found.thumbnails.get(file))

    sets = tuple(tuple(map(picture, some)) for some in one.sets if any(file in found.thumbnails for file in some))
    pictures = () if one.sets else tuple(picture(file) for file in one.files if file in found.thumbnails)
    named = one.files[:_SHOWN_FILES]
    return Entry(KINDS[one.kind], str(one.severity), one, sets, pictures, named, len(one.files) - len(named))
