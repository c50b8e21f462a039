"""Verdicts as a table."""

from dataclasses import replace

import pytest

from search.diagnosis.evidence import Run, State
from search.diagnosis.verdict import counted, state
from tests.search.diagnosis.networks import epoch, run

NAN = float("nan")
LATE = Run(
    seed=0, epochs=(*(epoch() for _ in range(6)), *(epoch(train_score=0.9) for _ in range(4))), learned=True, score=0.9,
    train_score=0.9,
)  # fmt: skip
SOON = replace(LATE, epochs=(epoch(), *(epoch(train_score=0.9) for _ in range(9))))


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([SOON, SOON, SOON], State.HEALTHY),
        ([SOON, SOON, run()], State.HEALTHY),
        ([LATE, LATE, SOON], State.SLOW),
        ([run(), run(), run()], State.COLLAPSED),
        ([SOON, run(), run()], State.COLLAPSED),
        ([run(finite=False, loss=NAN)] * 3, State.NON_FINITE),
        ([replace(run(train_score=0.95), batch_statistics_score=0.9)] * 3, State.BATCHNORM),
        ([run(auc=0.9)] * 3, State.THRESHOLD),
        ([replace(run(), train_score=0.95)] * 3, State.MEMORISER),
        ([run(score=0.41)] * 3, State.WEAK),
        ([replace(run(epochs=1), epochs=(), error="ValueError")], State.COLLAPSED),
    ],
)
def test_state(runs: list[Run], expected: State) -> None:
    assert state(runs, 1 / 3, 0.5) is expected


def test_what_was_judged_on_its_own_training_images_is_never_called_healthy() -> None:
    learned = [run(score=1.0, learned=True)] * 3
    assert state(learned, 0.5, 0.6) in (State.HEALTHY, State.SLOW)
    assert state(learned, 0.5, 0.6, held_out=False) is State.UNTOLD
    assert state([run(score=0.5)] * 3, 0.5, 0.6, held_out=False) is State.COLLAPSED


def test_a_fit_that_was_cut_off_has_not_failed() -> None:
    cut, ended, won = replace(run(), stopped=True), run(), replace(run(score=0.9, learned=True), stopped=True)
    assert counted([cut, ended, won]) == (ended, won)
    assert counted([cut, replace(cut, error="broken")]) == (replace(cut, error="broken"),)
    assert counted([cut, cut]) == (cut, cut)
