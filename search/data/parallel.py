"""One pass over all files, in parallel threads, without the warnings of libraries."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how many pieces are finished, and how many there are."""


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


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], what: str, on_progress: OnProgress
) -> Iterator[Result]:
    """Results of `function` in the order of `items`, as they come.

    Threads, not processes: reading, hashing, decoding and resizing all happen outside the interpreter's lock.
    """
    parallel = joblib.Parallel(n_jobs=-1, backend="threading", return_as="generator")
    results = parallel(joblib.delayed(function)(item) for item in items)
    try:
        for done, result in enumerate(results, start=1):
            yield result
            on_progress(what, done, len(items))
    finally:
        with QUIET:  # a pass that ends early was interrupted, or the disk is full: that is told elsewhere
            results.close()
