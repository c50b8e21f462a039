"""Keeps libraries' warnings from the user while several threads read images."""

from __future__ import annotations

import threading
import warnings
from typing import Final


class _Silence:
    """Ignores warnings of Pillow and joblib while any thread is inside.

    `warnings.catch_warnings` swaps a global list, so threads that each used their own would undo one another: the
    first one in silences, the last one out restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._catch = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._catch = warnings.catch_warnings()
                self._catch.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|joblib)\b")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._catch.__exit__(None, None, None)


QUIET: Final = _Silence()
"""A reusable context: Pillow warns of damage that is told as a reason, joblib of passes that end early."""
