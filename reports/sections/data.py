"""The section Data: classes, image sizes, findings of the inspection, and files that could not be used."""

from __future__ import annotations

from dataclasses import dataclass

from reports import next_commands
from reports.wording import compact, counted, listed, whole
from search.inspection.findings import KINDS, OF_TEST
from search.records import Trial
from search.selection.results import Results
from spaces.config import PRETRAINED


@dataclass(frozen=True, slots=True)
class ClassBar:
    """A class with its number of images."""

    name: str
    images: int
    share: float  # percent of the largest class, for the bar


@dataclass(frozen=True, slots=True)
class Data:
    """The template data of the section Data: classes, image sizes, findings and unusable files."""

    sentence: str
    classes: tuple[ClassBar, ...]
    facts: tuple[tuple[str, str], ...]
    quarantined: tuple[tuple[str, str], ...]  # file, reason
    findings: tuple[tuple[str, str, str], ...]  # title, severity, detail
    check_command: str  # shows the images of the findings
    check_place: str  # where to run it; empty: in the current folder


def data(results: Results) -> Data:
    """Build the template data of the section Data: classes, image sizes, findings and unusable files."""
    summary = results.study.data
    most = max(summary.classes.values(), default=1) or 1
    return Data(
        sentence=sentence(results),
        classes=tuple(ClassBar(name, n, round(100 * n / most, 2)) for name, n in summary.classes.items()),
        facts=tuple(_facts(results)),
        quarantined=tuple(summary.quarantined.items()),
        findings=findings(results),
        check_command=next_commands.check(results.study),
        check_place=next_commands.place(results.study),
    )


def findings(results: Results) -> tuple[tuple[str, str, str], ...]:
    """Return the findings of the inspection before the search as title, severity and detail.

    Unreadable files are left out, since they have their own list, except those of the test images.
    """
    return tuple(
        (KINDS.get(kind, kind), severity, detail)
        for kind, severity, detail in results.study.findings
        if kind != "corrupt" or detail.startswith(OF_TEST)
    )


def sentence(results: Results) -> str:
    """Return the number of images and how balanced the classes are."""
    classes = results.study.data.classes
    text = f"{counted(results.study.data.images, 'image')} in {counted(len(classes), 'class', 'classes')}"
    fewest, most = min(classes.values(), default=0), max(classes.values(), default=0)
    if fewest == most:
        return f"{text}, {most:,} of each."
    if not fewest or most < 1.5 * fewest:
        return f"{text}, about equally many of each."
    return f"{text}; the largest has {most / fewest:.1f} times as many as the smallest."


def backbone_sides(results: Results) -> list[int]:
    """Return the sides in pixels of the images that pretrained networks of the study got, if they have their own."""
    return sorted({trial.configuration.resolution for trial in results.study.trials if _has_own_images(trial)})


def _has_own_images(trial: Trial) -> bool:
    return trial.configuration.family == PRETRAINED and trial.configuration.resolution > 0


def _facts(results: Results) -> list[tuple[str, str]]:
    summary = results.study.data
    colour = "colour" if summary.channels == 3 else "grey"
    own = " from scratch" if backbone_sides(results) else ""
    facts = [
        (
            f"{len(summary.shapes)} shapes" if summary.shapes else f"{summary.image_size} x {summary.image_size}",
            f"pixels in {colour}, as the networks{own} see them: {summary.size_reason}",
        )
    ]
    if sides := backbone_sides(results):
        facts.append((listed([str(side) for side in sides]), "pixels a side, as pretrained networks see the images"))
    if summary.sizes:
        (size, count), *more = summary.sizes.items()
        rest = ", ".join(f"{name} ({n:,})" for name, n in more)
        facts.append((size, f"pixels: {counted(count, 'file')}; others: {rest}" if rest else "pixels: all files"))
    if summary.grey is not None:
        facts.append((whole(summary.images - summary.grey), f"images in colour; {summary.grey:,} grey"))
    if summary.white is not None:
        facts.append((compact(summary.white), "is the white level of images with more than 8 bits per channel"))
    if summary.duplicates is not None:
        facts.append((whole(summary.duplicates), "images are byte-identical to another one"))
    if summary.copies:
        facts.append(
            (
                whole(summary.copies),
                "images have exact or near copies; copies of an image were never on both sides of a split",
            )
        )
    if summary.groups is not None:
        facts.append((whole(summary.groups), "groups; no group was ever on both sides of a split"))
    return facts
