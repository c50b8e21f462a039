"""The card of a trained model: what is needed to use it. It lies in the `.keras` archive and beside it.

Keras opens archives with further members and leaves them alone; it drops them when it saves a model again. For that
case the same card stands in a JSON file beside the model.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from search.errors import DamagedError, UserError
from spaces.image_format import ImageFormat

SCHEMA: Final = 1
"""Version of the card's keys."""

CARD: Final = "steadynet/card.json"
OUTLIER_DETECTOR: Final = "steadynet/likeness.npz"
"""Names of the card and the outlier detector in the `.keras` archive."""

_KERAS: Final = "config.json"  # what makes an archive a Keras model
_MOST_BYTES: Final = {CARD: 1_000_000, OUTLIER_DETECTOR: 1_000_000}
_LARGEST_SIDE: Final = 1024
_USED: Final = ("schema", "classes", "input", "decision_offset")


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """The card of a model: what is needed to use it, and what was known when it was trained.

    Attributes:
        classes: K names, in the order of the model's outputs.
        images: format of the model's input images.
        recipe: version of the decoding of image files (`search.data.decode.RECIPE`).
        offset: `(K,)` decision offset, already part of the model.
        facts: further entries of the card for people, such as configuration and training; JSON values.
    """

    classes: tuple[str, ...]
    images: ImageFormat
    recipe: int
    offset: tuple[float, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return the card as JSON."""
        content = {
            "schema": SCHEMA,
            "classes": list(self.classes),
            "input": {
                "image_size": self.images.image_size,
                "channels": self.images.channels,
                "recipe": self.recipe,
                **({"shapes": self.images.shapes} if self.images.shapes else {}),
                **({} if self.images.white is None else {"white": self.images.white}),
            },
            "decision_offset": list(self.offset),
            **self.facts,
        }
        return json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False) + "\n"

    @classmethod
    def of(cls, text: str | bytes, where: str) -> Card:
        """Parse a card.

        Args:
            text: the card as JSON.
            where: name of the source for messages, such as the path of the file.

        Raises:
            DamagedError: the text is not a valid card, or has another schema.
        """
        try:
            content = json.loads(text)
            if content["schema"] != SCHEMA:
                raise DamagedError(
                    f"{where} has schema {content['schema']!r}, expected {SCHEMA}. Use the version of Steadynet "
                    "that trained the model, or train it again."
                )
            card = cls(
                classes=tuple(content["classes"]),
                images=ImageFormat(
                    image_size=content["input"]["image_size"],
                    channels=content["input"]["channels"],
                    shapes=content["input"].get("shapes", ()),
                    white=content["input"].get("white"),
                ),
                recipe=content["input"]["recipe"],
                offset=tuple(content["decision_offset"]),
                facts={key: value for key, value in content.items() if key not in _USED},
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DamagedError(f"{where} can't be read ({reason[:120]}). Train the model again.") from None
        return card._checked(where)

    def _checked(self, where: str) -> Card:
        images = self.images
        sound = (
            len(self.classes) >= 2
            and all(isinstance(name, str) for name in self.classes)
            and len(set(self.classes)) == len(self.classes) == len(self.offset)
            and all(isinstance(value, int | float) and math.isfinite(value) for value in self.offset)
            and isinstance(images.image_size, int)
            and 1 <= images.image_size <= _LARGEST_SIDE
            and images.channels in (1, 3)
            and (images.white is None or (isinstance(images.white, int | float) and 0 < images.white < math.inf))
            and all(
                isinstance(side, int) and 1 <= side <= images.image_size for shape in images.shapes for side in shape
            )
        )
        if not sound:
            raise DamagedError(f"{where} has invalid classes, input or decision_offset. Train the model again.")
        return self


def beside(model: Path) -> Path:
    """Return the path of the JSON card beside a model file."""
    return model.with_suffix(".json")


def is_keras(path: Path) -> bool:
    """Whether a file is a `.keras` archive; false if it does not exist."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _KERAS in archive.namelist()
    except Exception:  # zipfile raises whatever it stumbles over: BadZipFile, NotImplementedError, struct.error
        return False


def put_in(archive: Path, card: Card, detector: bytes | None) -> None:
    """Add a card and, if there is one, the outlier detector to a `.keras` archive.

    Args:
        archive: path of the `.keras` file, which is changed in place.
        card: the card to add.
        detector: outlier detector from `OutlierDetector.to_bytes`; None without.
    """
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(CARD, card.text())
        if detector is not None:
            opened.writestr(OUTLIER_DETECTOR, detector)


def read(model: Path) -> tuple[Card, bytes | None]:
    """Read the card of a model and the bytes of its outlier detector (None without one).

    Raises:
        UserError: the file does not exist, is not a Keras model, or has no card.
        DamagedError: the card or the detector is damaged, or the card has another schema.
    """
    if not model.is_file():
        raise UserError(f"no such model: {model}. Pass the .keras file that train wrote.")
    if not is_keras(model):
        raise UserError(f"{model} is not a Keras model. Pass the .keras file that train wrote.")
    stored, detector = _member(model, CARD), _member(model, OUTLIER_DETECTOR)
    if stored is not None:
        return Card.of(stored, f"the card in {model}"), detector
    try:
        text = beside(model).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"{model} has no card with its classes, and there is no {beside(model).name} beside it. "
            "Pass a model that train wrote."
        ) from None
    return Card.of(text, str(beside(model))), None


def _member(model: Path, name: str) -> bytes | None:
    with zipfile.ZipFile(model) as archive:
        try:
            info = archive.getinfo(name)
        except KeyError:
            return None
        if info.file_size > _MOST_BYTES[name]:
            raise DamagedError(
                f"{name} in {model} has {info.file_size:,} bytes, expected at most {_MOST_BYTES[name]:,}. "
                "Train the model again."
            )
        try:
            return archive.read(info)
        except Exception as error:  # as above, and zlib.error, RuntimeError (encrypted), EOFError
            raise DamagedError(f"{name} in {model} can't be read ({error}). Train the model again.") from None
