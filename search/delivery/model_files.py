"""The files of a delivered model: where they may lie, and how they come to lie there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from search.delivery import card as cards
from search.delivery.card import Card
from search.errors import UserError

SUFFIX: Final = ".keras"


def check_target(model: Path) -> None:
    """Refuse a name that can't be written, or that would take the place of something else, before any training.

    Raises:
        UserError: it is refused.
    """
    if model.suffix != SUFFIX:
        raise UserError(f"--model {model}: a name that ends in {SUFFIX} is expected, such as {model.stem}{SUFFIX}.")
    if model.exists() and not cards.is_keras(model):
        raise UserError(f"--model {model} is there and is no Keras model. Pass another name, or move it away.")
    beside = cards.beside(model)
    if beside.exists():
        try:
            Card.of(beside.read_bytes(), str(beside))
        except (OSError, UserError):
            raise UserError(
                f"--model {model}: the model's card would take the place of {beside}, which is something else. Pass "
                "another name, or move it away."
            ) from None
    if not model.parent.is_dir():
        raise UserError(f"--model {model}: there is no folder {model.parent}. Make it, or pass another name.")
    if not os.access(model.parent, os.W_OK | os.X_OK):
        raise UserError(f"--model {model}: the folder {model.parent} can't be written. Pass another one.")


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """A name beside `target` to write under; what stands there at the block's end takes the place of `target`.

    If the block raises, `target` stays as it was and nothing else is left.

    Raises:
        UserError: the disk is full, or the folder can't be written.
    """
    path = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield path
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        path.replace(target)
    except OSError as error:
        raise UserError(f"{target} can't be written ({error.strerror or error}). Make room, or pass another.") from None
    finally:
        path.unlink(missing_ok=True)
