"""Threads of linear algebra. Products of small matrices take many times as long when threads wait for each other."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which NumPy and SciPy compute with one thread; the former number comes back after it."""
    limit: AbstractContextManager[object] = _linear_algebra().limit(limits=1)
    return limit


@cache
def _linear_algebra() -> ThreadpoolController:
    """The threads of NumPy's and SciPy's own copies of BLAS; looking for them takes longer than an epoch."""
    return ThreadpoolController()
