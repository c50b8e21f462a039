"""The whole diagnosis of a user's network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.diagnosis.loading import Case
from search.diagnosis.records import Diagnosis
from search.records import IntArray

OnProgress = Callable[[str, int, int], None]


def diagnose(
    case: Case,
    images: npt.NDArray[np.uint8],
    labels: IntArray,
    classes: Sequence[str],
    *,
    model: str,
    folder: Path,
    budget: float,
    seed: int,
    on_progress: OnProgress,
) -> Diagnosis:
    """Why the network does not learn, and the smallest change that makes it learn.

    Args:
        case: the user's network.
        images: `(n, h, w, c)` uint8.
        labels: `(n,)` 0..K-1.
        classes: K names.
        model: as the user gave it.
        folder: of the images.
        budget: seconds.
        seed: root of all seeds.
        on_progress: told of the stage, the steps done and the steps in all.
    """
    raise NotImplementedError
