from dataclasses import replace

import numpy as np
import pytest

from search.records import TrialState
from search.selection.ranking import candidates, is_tie
from search.selection.scores import pooled_score
from search.settings import TrainingProtocol
from spaces.image_format import ImageFormat

PROTOCOL = TrainingProtocol(epochs=10, images=ImageFormat(image_size=32, channels=3), classes=3)


def _rank(trials, labels, metric="balanced_accuracy"):
    return candidates(trials, labels, metric, 1 / 3, PROTOCOL, 3)


def test_the_order_is_that_of_the_pooled_scores(make_trial, labels) -> None:
    found = _rank([make_trial(labels, i, quality) for i, quality in enumerate([0.5, 4.0, 1.5])], labels)
    assert [one.ranked.trial.number for one in found] == [1, 2, 0]
    assert found[0].ranked.pooled == pytest.approx(pooled_score(found[0].ranked.trial, labels, "balanced_accuracy", 3))


def _twin(trial, number, **changes):
    """Another configuration with the same predictions."""
    return replace(trial, number=number, configuration=replace(trial.configuration, **changes))


def test_ties_go_to_the_smaller_network(make_trial, labels) -> None:
    large = make_trial(labels, 0, changes={"width": 64})
    found = _rank([large, _twin(large, 1, width=8), _twin(large, 2, width=32)], labels)
    assert [one.ranked.trial.number for one in found] == [1, 0, 2]
    assert found[0].weights < found[1].weights


def test_then_to_the_faster(make_trial, labels) -> None:
    slow = make_trial(labels, 0, changes={"batch_size": 8})
    found = _rank([slow, _twin(slow, 1, batch_size=24), _twin(slow, 2, batch_size=9)], labels)
    assert found[0].ranked.trial.number == 1


def test_what_a_busy_machine_took_changes_nothing(make_trial, labels) -> None:
    trials = [make_trial(labels, 0), _twin(make_trial(labels, 0), 1, dropout=0.2)]
    for seconds in ((1.0, 9.0), (9.0, 1.0)):
        timed = [
            replace(trial, fits=tuple(replace(fit, seconds=took) for fit in trial.fits))
            for trial, took in zip(trials, seconds, strict=True)
        ]
        assert [one.ranked.trial.number for one in _rank(timed, labels)] == [0, 1]


def test_only_ties_with_the_best_move(make_trial, labels) -> None:
    best = make_trial(labels, 0, quality=4.0, changes={"width": 64})
    poor = make_trial(labels, 1, quality=0.5, changes={"width": 64})
    small_and_poor = _twin(poor, 2, width=4)
    assert [one.ranked.trial.number for one in _rank([best, poor, small_and_poor], labels)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("folds", "pooled", "tie"),
    [
        ((0.7, 0.7, 0.7), 0.70, True),  # the same score
        ((0.6, 0.6, 0.6), 0.60, False),  # always a tenth behind: no doubt
        ((0.9, 0.5, 0.6), 0.69, True),
        ((0.6, 0.55, 0.5), 0.55, False),
    ],
)
def test_a_tie_is_half_a_standard_error_of_the_paired_difference(make_trial, labels, folds, pooled, tie) -> None:
    one = replace(_rank([make_trial(labels)], labels)[0].ranked, folds=(0.7, 0.7, 0.7), pooled=0.70)
    assert is_tie(one, replace(one, folds=folds, pooled=pooled)) is tie


def test_a_configuration_sampled_twice_is_listed_once(make_trial, labels) -> None:
    trial = make_trial(labels, 3)
    found = _rank([replace(trial, number=7), trial], labels)
    assert [one.ranked.trial.number for one in found] == [3]


def test_trials_without_all_folds_are_not_ranked(make_trial, labels) -> None:
    raced = make_trial(labels, 1, quality=5.0, run=2, state=TrialState.RACED)
    failed = make_trial(labels, 2, quality=5.0, state=TrialState.FAILED)
    assert [one.ranked.trial.number for one in _rank([make_trial(labels, 0), raced, failed], labels)] == [0]
    assert _rank([raced], labels) == ()


def test_healthy_is_more_than_a_standard_error_above_chance(make_trial, labels) -> None:
    found = _rank([make_trial(labels, 0, 3.0), make_trial(labels, 1, 0.0)], labels)
    assert [one.ranked.healthy for one in found] == [True, False]
    assert found[0].ranked.se == found[1].ranked.se > 0


def test_a_collapsed_fold_counts_and_shows(make_trial, labels) -> None:
    found = _rank([make_trial(labels, 0, 3.0, collapsed=(2,))], labels)[0].ranked
    assert found.folds[2] == found.worst == pytest.approx(1 / 3)
    assert found.collapse_rate == pytest.approx(1 / 3)
    assert found.mean == pytest.approx(np.mean(found.folds))
