"""Records of what an inspection finds, which reports read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "corrupt": "Files that can't be read",
    "odd-file": "Unusual files",
    "duplicate": "The same file more than once",
    "near-duplicate": "Nearly the same picture more than once",
    "label-conflict": "The same picture in two classes",
    "leak": "Test images that are among the training images",
    "blank": "Images that show nothing",
    "dark": "Much darker or brighter than the others",
    "blurry": "Much less sharp than the others",
    "odd-size": "Unusual sizes",
    "shortcut": "The class can be told without looking at the picture",
    "imbalance": "Classes of very different sizes",
    "too-few": "Too few images",
}
"""Heading of each kind of finding."""


OF_TEST: Final = "Test: "
"""Beginning of the details of findings on unreadable test images."""


class Severity(StrEnum):
    """The severity of a finding."""

    ERROR = "error"  # scores will be wrong, or no search is possible
    WARNING = "warning"  # to be looked at
    NOTE = "note"  # good to know


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A problem of the images, or something good to know about them."""

    kind: str  # of `KINDS`
    severity: Severity
    detail: str  # what it is and what to do, for people
    files: tuple[str, ...] = ()  # affected ones, relative to the image folder; those of a test folder with its name
    sets: tuple[tuple[str, ...], ...] = ()  # files that belong together, such as copies of one picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """The findings in a folder of images, and what the folder holds."""

    folder: str
    test: str | None
    classes: Mapping[str, int]  # readable images
    images: int
    findings: tuple[Finding, ...]  # the gravest first
    sizes: Mapping[str, int]
    aspects: tuple[float, float, float]  # width / height: least, median, most
    modes: Mapping[str, int]
    bits: Mapping[int, int]  # a channel
    formats: Mapping[str, int]
    units: int  # images, or groups of images that belong together
    folds: int  # of a cross-validation that the classes allow, 10 at most
    chance: float  # balanced accuracy of guessing
    baselines: Mapping[str, float]  # balanced accuracy of simple methods; empty where nothing could be learned
    half: float | None  # of the 95 % interval of a score half-way between chance and 1; None with an empty class
    seconds: float
    thumbnails: Mapping[str, str] = field(default_factory=dict)  # file -> JPEG in base64
