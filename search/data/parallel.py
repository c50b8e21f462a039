"""Parallel map over files in threads, without the warnings of libraries."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")

OnProgress = Callable[[str, int, int], None]
"""Progress callback `(what, done, total)`: the activity (such as "decoding"), numbers of finished and of all items."""


class _Silence:
    """Context that suppresses the warnings of Pillow and joblib while any thread is inside.

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
"""Reusable context without the warnings of Pillow and joblib: damaged files are reported as unreadable instead."""


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], what: str, on_progress: OnProgress
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of `items`, computed in as many threads as there are cores.

    Threads, not processes: reading, hashing, decoding and resizing all release the interpreter's lock.

    Args:
        function: called from several threads at once; its exceptions are raised here.
        items: the arguments.
        what: the activity, such as "decoding", passed to `on_progress`.
        on_progress: called after each result.
    """
    parallel = joblib.Parallel(n_jobs=-1, backend="threading", return_as="generator")
    results = parallel(joblib.delayed(function)(item) for item in items)
    try:
        for done, result in enumerate(results, start=1):
            yield result
            on_progress(what, done, len(items))
    finally:
        with QUIET:  # joblib warns if the pass ends early: by an interrupt or a full disk, which is reported elsewhere
            results.close()
