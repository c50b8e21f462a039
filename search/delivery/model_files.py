"""Safe writing of a delivered model: invalid paths are refused, and no half-written file is left."""

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
    """Check before a training that the model and its card can be written, and would not replace other files.

    Args:
        model: path of the `.keras` file to write; an older model there may be replaced.

    Raises:
        UserError: the name does not end in `.keras`, the folder does not exist or is not writable, or there is another
            file in the place of the model or of its card.
    """
    if model.suffix != SUFFIX:
        raise UserError(f"--model {model}: expected a name that ends in {SUFFIX}, such as {model.stem}{SUFFIX}.")
    if model.exists() and not cards.is_keras(model):
        raise UserError(f"--model {model} exists and is not a Keras model. Pass another name, or move it away.")
    beside = cards.beside(model)
    if beside.exists():
        try:
            Card.of(beside.read_bytes(), str(beside))
        except (OSError, UserError):
            raise UserError(
                f"--model {model}: the model's card would replace {beside}, which is not a card. Pass another name, or "
                "move that file away."
            ) from None
    if not model.parent.is_dir():
        raise UserError(f"--model {model}: there is no folder {model.parent}. Create it, or pass another name.")
    if not os.access(model.parent, os.W_OK | os.X_OK):
        raise UserError(f"--model {model}: the folder {model.parent} is not writable. Pass another one.")


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """Yield a path to write to; at the end of the `with` block the file replaces `target`.

    If the block raises, `target` stays as it was and no other file is left.

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
        raise UserError(
            f"{target} can't be written ({error.strerror or error}). Free some space, or pass another path."
        ) from None
    finally:
        path.unlink(missing_ok=True)
