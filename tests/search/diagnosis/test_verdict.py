"""Verdicts as a table."""

from dataclasses import replace

import pytest

from search.diagnosis.evidence import DiagnosisFit, NetworkState
from search.diagnosis.verdict import counted, state
from tests.search.diagnosis.networks import epoch, run

NAN = float("nan")
LATE = DiagnosisFit(
    seed=0, epochs=(*(epoch() for _ in range(6)), *(epoch(train_score=0.9) for _ in range(4))), learned=True, score=0.9,
    train_score=0.9,
)  # fmt: skip
SOON = replace(LATE, epochs=(epoch(), *(epoch(train_score=0.9) for _ in range(9))))


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([SOON, SOON, SOON], NetworkState.HEALTHY),
        ([SOON, SOON, run()], NetworkState.HEALTHY),
        ([LATE, LATE, SOON], NetworkState.SLOW),
        ([run(), run(), run()], NetworkState.COLLAPSED),
        ([SOON, run(), run()], NetworkState.COLLAPSED),
        ([run(finite=False, loss=NAN)] * 3, NetworkState.NON_FINITE),
        ([replace(run(train_score=0.95), batch_statistics_score=0.9)] * 3, NetworkState.BATCHNORM),
        ([run(auc=0.9)] * 3, NetworkState.THRESHOLD),
        ([replace(run(), train_score=0.95)] * 3, NetworkState.MEMORISER),
        ([run(score=0.41)] * 3, NetworkState.WEAK),
        ([replace(run(epochs=1), epochs=(), error="ValueError")], NetworkState.COLLAPSED),
    ],
)
def test_state(runs: list[DiagnosisFit], expected: NetworkState) -> None:
    assert state(runs, 1 / 3, 0.5) is expected


def test_what_was_judged_on_its_own_training_images_is_never_called_healthy() -> None:
    learned = [run(score=1.0, learned=True)] * 3
    assert state(learned, 0.5, 0.6) in (NetworkState.HEALTHY, NetworkState.SLOW)
    assert state(learned, 0.5, 0.6, held_out=False) is NetworkState.UNTOLD
    assert state([run(score=0.5)] * 3, 0.5, 0.6, held_out=False) is NetworkState.COLLAPSED


def test_a_fit_that_was_cut_off_has_not_failed() -> None:
    cut, ended, won = replace(run(), stopped=True), run(), replace(run(score=0.9, learned=True), stopped=True)
    assert counted([cut, ended, won]) == (ended, won)
    assert counted([cut, replace(cut, error="broken")]) == (replace(cut, error="broken"),)
    assert counted([cut, cut]) == (cut, cut)
