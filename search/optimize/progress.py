"""When further trials bring nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MIN_TRIALS: Final = 40
_SHARE: Final = 1 / 3  # of the trials, the last ones: they have to have brought something
_LEAST: Final = 0.2  # standard errors: an improvement below that is luck


def no_more_progress(best_so_far: Sequence[float], standard_error: float | None) -> bool:
    """Whether the last third of the trials improved the best score by less than a fifth of its standard error.

    Args:
        best_so_far: best pooled score after each finished trial, in order; trials before the first score left out.
        standard_error: of the best trial's score; None if it is not known.
    """
    if standard_error is None or len(best_so_far) < _MIN_TRIALS:
        return False
    before = best_so_far[-1 - round(_SHARE * len(best_so_far))]
    return best_so_far[-1] - before < _LEAST * standard_error
