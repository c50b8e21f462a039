"""Settings of a study: budget, training protocol, plan, and the identity by which a run folder is recognized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from spaces.config import Configuration
from spaces.image_format import ImageFormat

ENGINE: Final = 1
"""Version of the training engine; increased when the same configuration would train differently."""

DEFAULT_TRIALS: Final = 200
DEFAULT_SECONDS: Final = 8 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits of a study over all its sessions; None is no limit."""

    trials: int | None = DEFAULT_TRIALS  # number of finished trials
    seconds: float | None = DEFAULT_SECONDS  # duration of all sessions together
    until_no_progress: bool = True  # whether to end as soon as further trials no longer improve the best score


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingProtocol:
    """Settings of training that all fits of a study share, so that they can be compared. Part of a fit's key."""

    epochs: int  # planned epochs of a fit
    images: ImageFormat  # `white` is set to None, as images are decoded
    classes: int  # number of classes, K
    precision: str = "float32"  # or "mixed_bfloat16"
    weights: tuple[tuple[str, str], ...] = ()  # backbone, and digest of the file with its initial weights, or "random"
    engine: int = ENGINE

    def __post_init__(self) -> None:  # JSON knows lists only
        object.__setattr__(self, "images", self.images.decoded)
        object.__setattr__(self, "weights", tuple((str(name), str(digest)) for name, digest in self.weights))

    def seen_by(self, configuration: Configuration) -> TrainingProtocol:
        """Return the protocol with the images as a configuration's network gets them.

        They are the study's, or squares of the side that the configuration gives its backbone.
        """
        if not configuration.resolution:
            return self
        return replace(self, images=replace(self.images, image_size=configuration.resolution, shapes=()))

    def as_stored(self) -> dict[str, Any]:
        """Return the protocol as JSON values. They are hashed into the keys of stored fits: never change the keys."""
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
        """Return the protocol from the result of `as_stored`, which in older studies lacks some keys."""
        values = dict(stored)
        images = ImageFormat(
            image_size=values.pop("image_size"), channels=values.pop("channels"), shapes=values.pop("shapes", ())
        )
        return cls(images=images, **values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Inputs and settings of a study. A search with another identity is refused in the same run folder."""

    fingerprint: str  # hash of the images, their classes and size
    groups: str | None  # hash of the groups; None without groups
    image_size: int  # pixels a side
    folds: int  # number of folds that the user asked for
    epochs: int | None  # number of epochs that the user asked for; None for automatic
    seed: int  # root seed
    metric: str
    space: str  # hash of the search space
    weights: tuple[tuple[str, str], ...] = ()  # initial weights of backbones, as in `TrainingProtocol`

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple((str(name), str(digest)) for name, digest in self.weights))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Epochs, folds and shares of the time budget. It is made before the search and kept over restarts."""

    epochs: int  # planned epochs of a fit
    folds: int  # number of folds
    search_seconds: float | None  # time for the search itself; None without a time limit
    final_seconds: float  # time for final training, test and report
    confirm_seconds: float | None = None  # time for confirmation and sensitivity; None without a time limit
    fit_seconds: float | None  # a fit that would take longer is stopped as too slow; None without a time limit
    notes: tuple[str, ...] = ()  # sentences for the user: what was cut and why
