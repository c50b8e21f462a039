"""Records of an inspection of an image folder, for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "corrupt": "Files that can't be read",
    "odd-file": "Unusual files",
    "duplicate": "Identical files",
    "near-duplicate": "Nearly identical pictures",
    "label-conflict": "The same picture in two classes",
    "leak": "Test images that are also training images",
    "blank": "Blank images",
    "dark": "Much darker or brighter than the others",
    "blurry": "Much less sharp than the others",
    "odd-size": "Unusual sizes",
    "shortcut": "The class can be predicted without the content of the picture",
    "imbalance": "Classes with very different numbers of images",
    "too-few": "Too few images",
}
"""Heading of each kind of finding."""


OF_TEST: Final = "Test: "
"""Prefix of the details of findings on unreadable test images."""


class Severity(StrEnum):
    """Severity of a finding."""

    ERROR = "error"  # scores will be wrong, or no search is possible
    WARNING = "warning"  # the user should look at it
    NOTE = "note"  # nothing needs to be done


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A problem of the images, or a fact about them that the user should know."""

    kind: str  # key of `KINDS`
    severity: Severity
    detail: str  # sentences for the user: what was found and what to do
    files: tuple[
        str, ...
    ] = ()  # affected files, relative to the image folder; test files begin with the test folder's name
    sets: tuple[tuple[str, ...], ...] = ()  # sets of files that are duplicates of each other


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """The findings on an image folder, and statistics of its readable images."""

    folder: str
    test: str | None
    classes: Mapping[str, int]  # class -> number of readable images
    images: int  # number of readable images
    findings: tuple[Finding, ...]  # the most severe first
    sizes: Mapping[str, int]  # "width x height" in pixels, or "other" -> number of images
    aspects: tuple[float, float, float]  # width / height: minimum, median, maximum
    modes: Mapping[str, int]  # Pillow's mode -> number of images
    bits: Mapping[int, int]  # bits a channel -> number of images
    formats: Mapping[str, int]  # Pillow's format -> number of images
    units: int  # number of groups; of images if there are no groups
    folds: int  # largest number of cross-validation folds that the classes allow, 0..10
    chance: float  # balanced accuracy of guessing, 0..1
    baselines: Mapping[str, float]  # simple method -> balanced accuracy, 0..1; empty if no cross-validation is possible
    half: float | None  # half-width of the 95 % interval of a score half-way between chance and 1; None: empty class
    seconds: float  # duration of the inspection
    thumbnails: Mapping[str, str] = field(default_factory=dict)  # file -> JPEG in base64
