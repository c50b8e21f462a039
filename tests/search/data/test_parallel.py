import warnings

import pytest

from search.data.parallel import map_in_threads


def test_results_come_in_order_with_progress() -> None:
    told: list[tuple[str, int, int]] = []
    squares = list(map_in_threads(lambda number: number**2, range(50), "squaring", lambda *news: told.append(news)))
    assert squares == [number**2 for number in range(50)]
    assert told == [("squaring", done, 50) for done in range(1, 51)]


def test_nothing_to_do() -> None:
    assert list(map_in_threads(str, [], "nothing", lambda *_: None)) == []


def test_an_interrupted_pass_ends_without_a_warning() -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    before = list(warnings.filters)
    with pytest.raises(KeyboardInterrupt):
        list(map_in_threads(str, range(500), "counting", interrupt))
    assert warnings.filters == before


def test_an_error_of_the_function_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda number: 1 // number, [1, 0, 1], "dividing", lambda *_: None))
