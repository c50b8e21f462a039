from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from search import records
from search.data.fresh_splits import fresh_folds
from search.records import COLLAPSES, CONFIRM, NO_TIME, NOT_JUDGED, Confirmation, Verdict
from search.selection.analyse import analyse
from search.selection.metrics import score

FOLDS, REPEATS = 3, 4


def fresh_fits(make_trial, labels, number, quality, repeats=REPEATS, collapsed=()):
    """The confirmed fits of a finalist: `collapsed` names (repeat, fold)."""
    from tests.search.selection.conftest import probabilities

    origin, fits = make_trial(labels, number), []
    rng = np.random.default_rng(100 + number)
    for repeat in range(repeats):
        for fold, split in enumerate(fresh_folds(labels, None, folds=FOLDS, seed=0, repeat=repeat)):
            given = probabilities(labels[split.val], quality, rng, int(labels.max()) + 1)
            broken = (repeat, fold) in collapsed
            fits.append(
                replace(
                    origin.fits[fold],
                    key=f"confirm-{number}-{repeat}-{fold}",
                    stage=CONFIRM,
                    repeat=repeat,
                    rows=split.val,
                    verdict=Verdict.COLLAPSED if broken else Verdict.LEARNED,
                    reason="constant-output" if broken else None,
                    score=score("balanced_accuracy", labels[split.val], given),
                    probabilities=given,
                )
            )
    return fits


def confirmed_study(make_trial, make_study, labels, qualities, dropped=None, **more):
    """A study whose search likes all finalists alike and whose fresh fits tell them apart."""
    trials = [make_trial(labels, number, 3.0) for number in range(len(qualities))]
    further = [
        fit
        for number, quality in enumerate(qualities)
        for fit in fresh_fits(make_trial, labels, number, quality, **more.get(str(number), {}))
    ]
    names = tuple(trial.configuration.hash for trial in trials)
    plan = Confirmation(
        finalists=names,
        folds=FOLDS,
        repeats=REPEATS,
        planned=REPEATS,
        dropped={names[number]: why for number, why in (dropped or {}).items()},
    )
    return replace(make_study(labels, trials), further=tuple(further), confirmation=plan)


@pytest.fixture
def wide():
    """Three classes of 30 images."""
    return np.arange(90) % 3


def test_the_fresh_fits_decide(make_trial, make_study, wide):
    results = analyse(confirmed_study(make_trial, make_study, wide, [1.0, 2.5, 1.5]))
    assert [one.trial.number for one in results.finalists] == [1, 2, 0]
    best = results.recommended
    assert best.finalist is results.finalists[0]
    assert best.ranked.trial.number == 1
    assert best.promise.stages == 2
    assert best.promise.low < best.promise.value < best.promise.high
    assert best.finalist.mean == pytest.approx(np.mean(best.finalist.scores))
    assert best.finalist.robust == pytest.approx(best.finalist.mean - best.finalist.se)
    assert len(best.finalist.fits) == FOLDS * REPEATS


def test_a_finalist_that_collapses_too_often_is_not_recommended_however_good(make_trial, make_study, wide):
    study = confirmed_study(make_trial, make_study, wide, [2.0, 6.0], **{"1": {"collapsed": ((0, 0), (2, 1))}})
    results = analyse(study)
    by_number = {one.trial.number: one for one in results.finalists}
    assert (by_number[1].collapsed, by_number[1].veto, by_number[1].healthy) == (2, True, False)
    assert results.recommended.ranked.trial.number == 0


def test_a_collapsed_fit_counts_for_no_more_than_chance(make_trial, make_study, wide):
    study = confirmed_study(make_trial, make_study, wide, [6.0], **{"0": {"collapsed": ((1, 2),)}})
    one = analyse(study).finalists[0]
    assert one.collapsed == 1
    assert min(one.scores) == pytest.approx(1 / 3)
    assert one.worst == pytest.approx(1 / 3)
    assert one.collapse_upper == pytest.approx(0.339, abs=0.001)  # Clopper-Pearson, 1 of 12, one-sided 95 %


def test_only_those_with_all_their_fits_can_win(make_trial, make_study, wide):
    study = confirmed_study(make_trial, make_study, wide, [2.0, 6.0], dropped={1: "no time"}, **{"1": {"repeats": 1}})
    results = analyse(study)
    assert [(one.trial.number, one.complete, one.dropped) for one in results.finalists] == [
        (0, True, None),
        (1, False, "no time"),
    ]
    assert results.recommended.ranked.trial.number == 0


def test_fits_of_a_repeat_that_was_cut_off_do_not_count(make_trial, make_study, wide):
    study = confirmed_study(make_trial, make_study, wide, [3.0, 2.0])
    cut = replace(study, confirmation=replace(study.confirmation, repeats=2))
    assert {len(one.fits) for one in analyse(cut).finalists} == {2 * FOLDS}


def test_where_every_finalist_fails_nothing_is_healthy(make_trial, make_study, wide):
    results = analyse(confirmed_study(make_trial, make_study, wide, [0.0, 0.0]))
    assert results.recommended is None
    assert results.reason == "no healthy configuration"
    assert len(results.finalists) == 2


def test_nothing_confirmed_is_a_promise_of_one_stage(make_trial, make_study, wide):
    study = confirmed_study(make_trial, make_study, wide, [3.0, 2.0])
    begun = replace(study, confirmation=replace(study.confirmation, repeats=0))
    results = analyse(begun)
    assert (results.finalists, results.recommended.promise.stages, results.recommended.finalist) == ((), 1, None)


def test_where_all_that_was_confirmed_collapsed_the_search_is_not_believed(make_trial, make_study, wide):
    broken = {str(number): {"repeats": 1, "collapsed": ((0, 0), (0, 1), (0, 2))} for number in (0, 1)}
    study = confirmed_study(make_trial, make_study, wide, [3.0, 3.0], dropped={0: COLLAPSES, 1: COLLAPSES}, **broken)
    results = analyse(study)
    assert (results.recommended, results.reason) == (None, "no healthy configuration")
    assert [one.collapsed for one in results.finalists] == [3, 3]


def test_where_time_ended_the_first_split_the_search_is_believed_but_for_whom_it_exposed(make_trial, make_study, wide):
    study = confirmed_study(
        make_trial,
        make_study,
        wide,
        [3.0, 3.0],
        dropped={0: COLLAPSES, 1: NO_TIME},
        **{"0": {"repeats": 1, "collapsed": ((0, 0), (0, 1), (0, 2))}, "1": {"repeats": 0}},
    )
    results = analyse(study)
    assert results.recommended.ranked.trial.number == 1
    assert results.recommended.promise.stages == 1


def test_one_that_could_not_be_fitted_in_a_later_repeat_does_not_win_by_an_earlier_one(make_trial, make_study, wide):
    study = confirmed_study(make_trial, make_study, wide, [2.0, 6.0], dropped={1: NOT_JUDGED})
    assert analyse(study).recommended.ranked.trial.number == 0


def test_a_test_score_with_another_offset_is_forgotten(make_trial, make_study, wide):
    study = confirmed_study(make_trial, make_study, wide, [3.0, 2.0])
    best = analyse(study).recommended
    score_ = records.TestScore(
        score=0.7, n=50, configuration=best.ranked.trial.configuration.hash, seed=1, fingerprint="t", offset=best.offset
    )
    assert analyse(replace(study, test=score_)).study.test == score_
    assert analyse(replace(study, test=replace(score_, offset=(0.5, -0.5, 0.0)))).study.test is None
