from __future__ import annotations

import pytest

from search.optimize.progress import no_more_progress

FLAT = [0.7] * 60
RISING = [0.5 + 0.005 * place for place in range(60)]


@pytest.mark.parametrize(
    ("best_so_far", "error", "over"),
    [
        ([], 0.05, False),
        (FLAT[:39], 0.05, False),  # too early to tell
        (FLAT[:40], 0.05, True),
        (FLAT, None, False),  # nothing known of the error
        (RISING, 0.05, False),
        ([*FLAT, 0.709], 0.05, True),  # less than a fifth of 0.05
        ([*FLAT, 0.711], 0.05, False),
        ([0.5, *FLAT], 0.05, True),  # the gain lies long ago
    ],
)
def test_when_the_last_third_brought_nothing(best_so_far: list[float], error: float | None, over: bool) -> None:
    assert no_more_progress(best_so_far, error) is over
