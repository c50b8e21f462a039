from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from search import seeds

WORDS = st.lists(st.sampled_from("a1 /ü名\0"), max_size=4).map("".join)  # for `st.text` all of Unicode is read first
PARTS = st.lists(st.one_of(WORDS, st.integers(-3, 10**6)), max_size=4)


@settings(max_examples=40)
@given(st.integers(0, 2**40), PARTS)
def test_a_child_depends_on_its_root_and_name_alone(root: int, name: list[str | int]) -> None:
    before = seeds.child(root, *name)
    seeds.generator(root, "other").random(5)
    np.random.default_rng().random()
    assert seeds.child(root, *name) == before
    assert 0 <= before < 2**31
    assert 0 <= seeds.share(root, *name) < 1


def test_a_child_is_the_same_in_another_process() -> None:
    code = "from search import seeds; print(seeds.child(7, 'fit', 'ü', 3))"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "1"}
    )
    assert int(asked.stdout) == seeds.child(7, "fit", "ü", 3)


def test_names_don_t_run_into_each_other() -> None:
    names = [(), ("a", "b"), ("ab",), ("a", 1), ("a1",), ("a", "1"), ("b", "a"), (1, "a"), ("a", 1, ""), ("",)]
    children = {seeds.child(root, *name) for root in range(3) for name in names}
    assert len(children) == 3 * len(names)


def test_shares_are_uniform() -> None:
    drawn = np.sort([seeds.share(0, "audit", number) for number in range(4000)])
    distance = np.abs(drawn - (np.arange(4000) + 0.5) / 4000).max()
    assert distance < 1.63 / np.sqrt(4000)  # Kolmogorov-Smirnov, 1 %; a fixed draw


def test_generators_of_different_names_are_independent() -> None:
    a, b = (seeds.generator(0, name).random(2000) for name in ("a", "b"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.08
