"""Random seeds derived from one root seed by name; there is no global random state.

A derived seed depends on nothing but the root seed and its own name: the same number comes out whatever ran before, in
which process, and after how many restarts.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

Part = str | int


def child(root: int, *name: Part) -> int:
    """Derive the seed with this name from `root`: an integer in 0..2**31 - 1, the same in every process.

    >>> child(0, "fold", 1) == child(0, "fold", 1) != child(0, "fold", 2)
    True
    """
    text = json.dumps([root, *name])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 2**31


def generator(root: int, *name: Part) -> np.random.Generator:
    """Make a NumPy random generator whose seed is `child(root, *name)`."""
    return np.random.default_rng(child(root, *name))


def share(root: int, *name: Part) -> float:
    """Draw a fixed number from [0, 1) for this name: `share(root, "audit", 3) < 0.1` picks one case in ten."""
    return child(root, *name) / 2**31
