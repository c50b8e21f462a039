import re

import pytest

from search.data.decode import Probe
from search.data.format_choice import choose_channels, choose_size, common_size, frequent_sizes


@pytest.mark.parametrize(
    ("sizes", "cap", "side", "why"),
    [
        ([(32, 32)], 64, 32, "median of .* is 32 pixels: .* does not enlarge"),
        ([(31, 40)], 64, 24, "31 pixels"),
        ([(500, 400), (300, 1000), (90, 90)], 64, 64, "median of .* is 300 pixels: .* up to 64, .* --image-size"),
        ([(500, 400)], 128, 128, "up to 128"),
        ([(500, 400)], 100, 96, "up to 100"),
        ([(64, 64)], 64, 64, "does not enlarge"),
        ([(8, 8)], 64, 16, "below the smallest"),
        ([(40, 900), (60, 900)], 64, 48, "50 pixels"),
        ([(9000, 9000)], 1000, 224, "up to 1000"),
        ([], 64, 16, "no image"),
    ],
)
def test_side(sizes: list[tuple[int, int]], cap: int, side: int, why: str) -> None:
    chosen, sentence = choose_size([Probe(width, height, True) for width, height in sizes], cap=cap)
    assert chosen == side
    assert re.search(why, sentence)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([(3, 3), (3, 3)], (3, "all images have 3 x 3 pixels.")),
        ([(224, 224)], (224, "all images have 224 x 224 pixels.")),
        ([(5, 9)], (9, "all images have 5 x 9 pixels, stretched to a square of 9.")),
        ([(225, 225)], None),
        ([(32, 32), (32, 33)], None),
        ([], None),
    ],
)
def test_images_of_one_size_keep_it(sizes: list[tuple[int, int]], kept: tuple[int, str] | None) -> None:
    assert common_size([Probe(width, height, True) for width, height in sizes], cap=224) == kept


@pytest.mark.parametrize(("grey", "channels"), [([True, True], 1), ([True, False], 3), ([False], 3)])
def test_one_coloured_image_makes_all_coloured(grey: list[bool], channels: int) -> None:
    assert choose_channels([Probe(9, 9, each) for each in grey]) == channels


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([], {}),
        ([(9, 8), (9, 8), (8, 9)], {"9 x 8": 2, "8 x 9": 1}),
        ([(n, n) for n in (5, 5, 6, 7, 8, 9, 4)], {"5 x 5": 2, "4 x 4": 1, "6 x 6": 1, "7 x 7": 1, "other": 2}),
    ],
)
def test_frequent_sizes_come_first_and_the_rest_together(sizes: list[tuple[int, int]], counts: dict[str, int]) -> None:
    found = frequent_sizes([Probe(width, height, False) for width, height in sizes])
    assert list(found.items()) == list(counts.items())
