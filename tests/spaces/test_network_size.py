import pytest

from spaces.network_size import size
from tests.factories import configuration


@pytest.mark.parametrize(
    ("changes", "image_size", "weights"),
    [
        # one layer on 8 x 8 x 3 pixels, 2 classes
        ({"depth": 1, "dense_ratio": 1.0, "dense_units": 4}, 8, (192 * 4 + 4) + (4 * 2 + 2)),
        ({"depth": 1, "dense_ratio": 0.0, "width": 5, "head": "average"}, 8, (27 * 5 + 5) + (5 * 2 + 2)),
        # 8 -> 4 -> 2, then too small to pool: 4, 8, 16, 16 filters
        (
            {"depth": 4, "dense_ratio": 0.0, "width": 4, "head": "max"},
            8,
            (27 * 4 + 4) + (36 * 8 + 8) + (72 * 16 + 16) + (144 * 16 + 16) + (16 * 2 + 2),
        ),
        # flattened: 8 -> 4, 4 filters
        ({"depth": 2, "dense_ratio": 0.5, "width": 4, "dense_units": 3}, 8, 112 + (64 * 3 + 3) + (3 * 2 + 2)),
        (
            {"depth": 2, "dense_ratio": 0.5, "width": 4, "dense_units": 3, "normalization": "batch"},
            8,
            112 + 16 + (64 * 3 + 3) + 12 + 8,
        ),
        (
            {"depth": 2, "dense_ratio": 0.5, "width": 4, "dense_units": 3, "normalization": "group"},
            8,
            112 + 8 + (64 * 3 + 3) + 6 + 8,
        ),
    ],
)
def test_weights_counted_by_hand(changes, image_size, weights) -> None:
    assert size(configuration(**changes), image_size, 3, 2) == weights


def test_filters_stop_at_eight_times_the_width() -> None:
    five = size(configuration(depth=5, dense_ratio=0.0, width=2, head="average", kernel_size=1), 64, 1, 2)
    six = size(configuration(depth=6, dense_ratio=0.0, width=2, head="average", kernel_size=1), 64, 1, 2)
    assert six - five == 16 * 16 + 16
