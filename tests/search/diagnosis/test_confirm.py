"""The search for the change that mends, over a trainer that knows the answers."""

from collections.abc import Callable, Mapping

import pytest

from search.diagnosis.changes import Change, SetEpochs, SetLearningRate
from search.diagnosis.confirm import find_fix, fix_of
from search.diagnosis.evidence import DiagnosisFit
from tests.search.diagnosis.networks import run

CHANCE = 0.33


def change(name: str, size: int = 1) -> Change:
    return Change(
        code="lr-too-high", summary=name, lines=name, size=size, edits=(SetLearningRate(hash(name) % 97 + 1.0),)
    )


class Answers:
    """Scores by change and seed; learned from 0.6 on."""

    def __init__(self, scores: Mapping[str, tuple[float, ...]]) -> None:
        self.scores, self.asked = scores, list[tuple[str, int]]()

    def __call__(self, tried: Change | None, seed: int) -> DiagnosisFit:
        assert tried is not None
        self.asked.append((tried.summary, seed))
        score = self.scores.get(tried.summary, (0.33,) * 5)[seed]
        return run(seed, score >= 0.6, score)


FAILING = tuple(run(seed) for seed in range(3))


def always() -> bool:
    return True


@pytest.mark.parametrize(
    ("scores", "confirmed", "asked"),
    [
        ({"a": (0.9, 0.9, 0.9)}, "a", ["a0", "a1"]),  # two of three are enough
        ({"a": (0.9, 0.3, 0.9)}, "a", ["a0", "a1", "a2"]),
        ({"a": (0.9, 0.3, 0.3), "b": (0.9, 0.9, 0.9)}, "b", ["a0", "a1", "a2", "b0", "b1"]),
        ({"b": (0.9, 0.9, 0.9)}, "b", ["a0", "b0", "b1"]),
        ({"a": (0.5, 0.9, 0.9), "b": (0.4, 0.9, 0.9)}, "a", ["a0", "b0", "a1", "a2"]),  # came near: the nearest first
        ({}, None, ["a0", "b0"]),
    ],
)
def test_the_first_change_that_learns_twice(
    scores: Mapping[str, tuple[float, ...]], confirmed: str | None, asked: list[str]
) -> None:
    trainer = Answers(scores)
    outcome = find_fix([change("a"), change("b")], FAILING, trainer, chance=CHANCE, has_time=always)
    assert (outcome.confirmed.change.summary if outcome.confirmed else None) == confirmed
    assert [f"{name}{seed}" for name, seed in trainer.asked] == asked
    assert outcome.complete


def test_an_unsteady_network_asks_for_more_wins() -> None:
    unsteady = (run(0, True, 0.8), *(run(seed) for seed in range(1, 5)))
    trainer = Answers({"a": (0.9, 0.9, 0.9, 0.3, 0.3), "b": (0.3, 0.9, 0.3, 0.3, 0.3)})
    outcome = find_fix([change("b"), change("a")], unsteady, trainer, chance=CHANCE, has_time=always)
    assert outcome.confirmed is not None
    assert outcome.confirmed.wins == 3
    assert trainer.asked[0] == ("b", 1), "a seed that fails is tried first"


def test_pairs_come_last_and_never_two_for_one_cause() -> None:
    other = Change(code="lr-too-low", summary="c", lines="c", size=1, edits=(SetEpochs(9),))
    trainer = Answers({"a, and c": (0.9, 0.9, 0.9)})
    outcome = find_fix(
        [change("a"), change("b"), other], FAILING, trainer, chance=CHANCE, has_time=always,
        combine=[change("a"), change("b"), other],
    )  # fmt: skip
    assert outcome.confirmed is not None
    assert outcome.confirmed.change.size == 3
    assert len(outcome.confirmed.change.edits) == 2
    assert [name for name, _ in trainer.asked] == ["a", "b", "c", "a, and c", "a, and c"]


def counted(fits: int) -> Callable[[], bool]:
    left = iter([True] * fits + [False] * 99)
    return lambda: next(left)


@pytest.mark.parametrize("fits", [0, 1, 2])
def test_nothing_is_begun_when_the_time_is_up(fits: int) -> None:
    trainer = Answers({})
    outcome = find_fix([change("a"), change("b"), change("c")], FAILING, trainer, chance=CHANCE, has_time=counted(fits))
    assert len(trainer.asked) == fits
    assert not outcome.complete
    assert outcome.confirmed is None


def test_a_mend_sets_each_seed_against_the_same_seed_unchanged() -> None:
    unchanged = (run(0, score=0.1), run(1, score=0.2), run(2, score=0.3))
    trainer = Answers({"a": (0.9, 0.3, 0.8)})
    outcome = find_fix([change("a")], unchanged, trainer, chance=CHANCE, has_time=always)
    assert outcome.confirmed is not None
    mend = fix_of(outcome.confirmed, unchanged, confirmed=True)
    assert dict(zip(mend.seeds, zip(mend.before, mend.after, strict=True), strict=True)) == {
        0: (0.1, 0.9), 1: (0.2, 0.3), 2: (0.3, 0.8),
    }  # fmt: skip
