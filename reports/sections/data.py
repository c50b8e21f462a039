"""The data: how many images of what, as the networks see them, and what could not be used."""

from __future__ import annotations

from dataclasses import dataclass

from reports import next_commands
from reports.wording import compact, counted, whole
from search.inspection.findings import KINDS, OF_TEST
from search.selection.results import Results


@dataclass(frozen=True, slots=True)
class ClassBar:
    """A class of the data set."""

    name: str
    images: int
    share: float  # of the largest class, for the bar


@dataclass(frozen=True, slots=True)
class Data:
    """Everything that the section shows."""

    sentence: str
    classes: tuple[ClassBar, ...]
    facts: tuple[tuple[str, str], ...]
    quarantined: tuple[tuple[str, str], ...]  # file, why
    findings: tuple[tuple[str, str, str], ...]  # what it is, how grave, in words
    pictures: str  # command that shows them


def data(results: Results) -> Data:
    """The section, laid out."""
    found = results.study.data
    most = max(found.classes.values(), default=1) or 1
    return Data(
        sentence=sentence(results),
        classes=tuple(ClassBar(name, n, round(100 * n / most, 2)) for name, n in found.classes.items()),
        facts=tuple(_facts(results)),
        quarantined=tuple(found.quarantined.items()),
        findings=stood_out(results),
        pictures=next_commands.check(results.study),
    )


def stood_out(results: Results) -> tuple[tuple[str, str, str], ...]:
    """What the inspection found before the search: what it is called, severity, detail.

    Files that can't be read are listed by themselves, but for those of the test.
    """
    return tuple(
        (KINDS.get(kind, kind), severity, detail)
        for kind, severity, detail in results.study.findings
        if kind != "corrupt" or detail.startswith(OF_TEST)
    )


def sentence(results: Results) -> str:
    """How many, and how even."""
    classes = results.study.data.classes
    said = f"{counted(results.study.data.images, 'image')} in {counted(len(classes), 'class', 'classes')}"
    fewest, most = min(classes.values(), default=0), max(classes.values(), default=0)
    if fewest == most:
        return f"{said}, {most:,} of each."
    if not fewest or most < 1.5 * fewest:
        return f"{said}, about as many of each."
    return f"{said}; the largest has {most / fewest:.1f} times as many as the smallest."


def _facts(results: Results) -> list[tuple[str, str]]:
    found = results.study.data
    colour = "colour" if found.channels == 3 else "grey"
    facts = [
        (
            f"{len(found.shapes)} shapes" if found.shapes else f"{found.image_size} x {found.image_size}",
            f"pixels, {colour}, is what the networks see: {found.size_reason}",
        )
    ]
    if found.sizes:
        (size, count), *more = found.sizes.items()
        rest = ", ".join(f"{name} ({n:,})" for name, n in more)
        facts.append((size, f"pixels: {count:,} of the files; others: {rest}" if rest else "pixels: all files"))
    if found.grey is not None:
        facts.append((whole(found.images - found.grey), f"images in colour, {found.grey:,} grey"))
    if found.white is not None:
        facts.append(
            (compact(found.white), "is white in images with more than 8 bits a channel, in most or all of them")
        )
    if found.duplicates is not None:
        facts.append((whole(found.duplicates), "images are byte by byte the same as another"))
    if found.copies:
        facts.append(
            (
                whole(found.copies),
                "pictures are there more than once, in the same or nearly the same form; their "
                "copies were never on both sides of a split",
            )
        )
    if found.groups is not None:
        facts.append((whole(found.groups), "groups; images of a group were never on both sides of a split"))
    return facts
