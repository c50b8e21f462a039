"""One pass over all files, in parallel threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import joblib

from search.data.quiet_libraries import QUIET

Item = TypeVar("Item")
Result = TypeVar("Result")

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how many pieces are finished, and how many there are."""


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
