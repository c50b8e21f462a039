"""Random seeds derived from one root seed by name; there is no global random state.

A derived seed depends on nothing but the root seed and its own name, so it is the same in every process and after every
restart.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

Part = str | int


def child(root: int, *name: Part) -> int:
    """Return the seed with this name, derived from `root`: an integer in 0..2**31 - 1, the same in every process.

    The parts of a name are strings or integers, such as `child(root, "fold", 1)`.

    >>> child(0, "fold", 1) == child(0, "fold", 1) != child(0, "fold", 2)
    True
    """
    text = json.dumps([root, *name])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 2**31


def generator(root: int, *name: Part) -> np.random.Generator:
    """Return a NumPy random generator with the seed `child(root, *name)`."""
    return np.random.default_rng(child(root, *name))


def share(root: int, *name: Part) -> float:
    """Return a number in [0, 1) that depends on root and name only: `share(root, "audit", 3) < 0.1` selects 10 %."""
    return child(root, *name) / 2**31
