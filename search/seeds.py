"""One root seed, named children; no global random state.

A child depends on nothing but the root seed and its own name: the same number comes out whatever ran before, in
which process, and after how many restarts.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

Part = str | int


def child(root: int, *name: Part) -> int:
    """Seed of the named child of `root`, in 0 .. 2**31 - 1.

    >>> child(0, "fold", 1) == child(0, "fold", 1) != child(0, "fold", 2)
    True
    """
    text = json.dumps([root, *name])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 2**31


def generator(root: int, *name: Part) -> np.random.Generator:
    """NumPy generator of the named child of `root`."""
    return np.random.default_rng(child(root, *name))


def share(root: int, *name: Part) -> float:
    """A fixed draw from [0, 1) for the named child: `share(...) < 0.1` picks one case in ten."""
    return child(root, *name) / 2**31
