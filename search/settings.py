"""Settings of a study: what the user asked for, and what makes two starts the same study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from spaces.image_format import ImageFormat

ENGINE: Final = 1
"""Version of the training engine: raised when the same configuration would train differently."""

DEFAULT_TRIALS: Final = 200
DEFAULT_SECONDS: Final = 8 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits of the study, counted over all its restarts; None is no limit."""

    trials: int | None = DEFAULT_TRIALS  # finished trials
    seconds: float | None = DEFAULT_SECONDS  # wall clock, all restarts together
    until_no_progress: bool = True  # also end when further trials bring nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingProtocol:
    """Settings of training that all fits of a study share, so that they can be compared. Part of a fit's key."""

    epochs: int
    images: ImageFormat  # once decoded: without `white`
    classes: int
    precision: str = "float32"  # or mixed_bfloat16
    weights: tuple[tuple[str, str], ...] = ()  # backbone, and digest of what it begins with: "random" or of a file
    engine: int = ENGINE

    def __post_init__(self) -> None:  # JSON knows lists only
        object.__setattr__(self, "images", self.images.decoded)
        object.__setattr__(self, "weights", tuple((str(name), str(digest)) for name, digest in self.weights))

    def as_stored(self) -> dict[str, Any]:
        """Return the form for JSON; its keys are hashed into the keys of stored fits and must never change."""
        return {
            "epochs": self.epochs,
            "image_size": self.images.image_size,
            "channels": self.images.channels,
            "classes": self.classes,
            "precision": self.precision,
            "shapes": self.images.shapes,
            "weights": self.weights,
            "engine": self.engine,
        }

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> TrainingProtocol:
        """Return the protocol that `as_stored` gave these values of; keys that older versions lack may be missing."""
        values = dict(stored)
        images = ImageFormat(
            image_size=values.pop("image_size"), channels=values.pop("channels"), shapes=values.pop("shapes", ())
        )
        return cls(images=images, **values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Inputs and settings that a run folder belongs to. A start whose identity differs is refused."""

    fingerprint: str  # of the images, their classes and size
    groups: str | None  # hash of the grouping, None without groups
    image_size: int
    folds: int
    epochs: int | None  # None is auto
    seed: int
    metric: str
    space: str  # hash of the space
    weights: tuple[tuple[str, str], ...] = ()  # of backbones, as in the protocol

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple((str(name), str(digest)) for name, digest in self.weights))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Epochs, folds and shares of the time, decided before the search and kept over restarts."""

    epochs: int
    folds: int
    search_seconds: float | None  # of the budget, for the search itself; None without a time limit
    final_seconds: float  # kept back for final training, test and report
    confirm_seconds: float | None = None  # kept back for the finalists and their surroundings; None without a limit
    fit_seconds: float | None  # a fit that would take longer is stopped as too slow; None without a time limit
    notes: tuple[str, ...] = ()  # what was decided and why, in sentences for the user
