"""Refusal of a start whose data or options are not those of the study in the run folder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Final

from search.errors import MismatchError
from search.settings import Identity

_WORDS: Final = {
    "fingerprint": "other images (or classes)",
    "groups": "other groups (--groups)",
    "image_size": "another --image-size",
    "folds": "another number of --folds",
    "epochs": "another number of --epochs",
    "seed": "another --seed",
    "metric": "another --metric",
    "space": "another --space",
    "weights": "other --weights",
}


def refuse_other(stored: Identity, requested: Identity, out: Path) -> None:
    """Refuse to go on with a study of other data or options than its own.

    Raises:
        MismatchError: names everything that differs, in the study and in this start.
    """
    differing = [f.name for f in fields(Identity) if getattr(stored, f.name) != getattr(requested, f.name)]
    if not differing:
        return
    details = "; ".join(
        f"{_WORDS[name]} (there: {_text(getattr(stored, name))}, now: {_text(getattr(requested, name))})"
        for name in differing
    )
    raise MismatchError(
        f"{out} holds a study of {details}. Pass another --out for a new study, or the same options to go on with it."
    )


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{name} {digest}" for name, digest in value) or "none"
    return "auto" if value is None else str(value)
