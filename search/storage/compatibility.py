"""What a run folder belongs to, and the refusal of anything else."""

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


def refuse_other(stored: Identity, asked: Identity, out: Path) -> None:
    """Let pass only a start that goes on with what is there.

    Raises:
        MismatchError: naming everything that differs, what the folder holds and what was asked for.
    """
    differing = [f.name for f in fields(Identity) if getattr(stored, f.name) != getattr(asked, f.name)]
    if not differing:
        return
    details = "; ".join(
        f"{_WORDS[name]} (there: {_said(getattr(stored, name))}, now: {_said(getattr(asked, name))})"
        for name in differing
    )
    raise MismatchError(
        f"{out} holds a study of {details}. Pass another --out for a new study, or the same options to go on with it."
    )


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{name} {digest}" for name, digest in value) or "none"
    return "auto" if value is None else str(value)
