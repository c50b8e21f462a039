"""One pass over all files, in parallel threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how many pieces are finished, and how many there are."""

_AHEAD: Final = 256  # results that may lie ready behind a slow one


def each(
    function: Callable[[Item], Result], items: Sequence[Item], what: str, on_progress: OnProgress
) -> Iterator[Result]:
    """Results of `function` in the order of `items`, as they come.

    Threads, not processes: reading, hashing, decoding and resizing all happen outside the interpreter's lock.
    """
    pool = ThreadPoolExecutor(joblib.cpu_count())  # what a container allows
    coming = (pool.submit(function, item) for item in items)
    ahead = deque(islice(coming, _AHEAD))
    try:
        for done in range(1, len(items) + 1):
            yield ahead.popleft().result()
            ahead.extend(islice(coming, 1))
            on_progress(what, done, len(items))
    finally:  # a pass that ends early was interrupted, or the disk is full: that is told elsewhere
        pool.shutdown(cancel_futures=True)
