from dataclasses import replace

import pytest
from scipy.stats import binom

from search.fit_checks import Collapse
from search.records import TrialState, Verdict
from search.selection import counts
from tests.reports import fake_results as fake

WOULD_BE = Collapse(reason="constant-output", hard=False, epoch=3, evidence={})


def test_all_four_verdicts_are_counted(make_trial, labels) -> None:
    fits = counts.unique_fits([make_trial(labels, 0), make_trial(labels, 1, collapsed=(0,), run=1)])
    assert counts.verdicts(fits) == {"learned": 3, "collapsed": 1, "stopped": 0, "failed": 0}


def test_fits_shared_by_two_trials_count_once(make_trial, labels) -> None:
    trial = make_trial(labels)
    assert len(counts.unique_fits([trial, replace(trial, number=5)])) == 3


def test_reasons_most_frequent_first(make_trial, labels) -> None:
    fits = make_trial(labels, collapsed=(0, 1, 2)).fits
    mixed = [replace(fits[0], reason="non-finite"), *fits[1:], *make_trial(labels, 1).fits]
    assert list(counts.collapse_reasons(mixed).items()) == [("dead-layer", 2), ("non-finite", 1)]


def test_every_epoch_of_an_undisturbed_study_was_run_or_saved(make_trial, labels) -> None:
    trials = [
        make_trial(labels, 0),
        make_trial(labels, 1, run=2, state=TrialState.RACED),
        make_trial(labels, 2, run=2, collapsed=(1,)),
    ]
    found = counts.epochs(trials, folds=3, planned=10)
    assert (found.run, found.saved_by_collapse, found.saved_by_racing, found.full) == (62, 18, 10, 90)
    assert found.run + found.saved_by_collapse + found.saved_by_racing == found.full


def test_an_interrupted_trial_saved_nothing(make_trial, labels) -> None:
    found = counts.epochs([make_trial(labels, run=1, state=TrialState.INTERRUPTED)], folds=3, planned=10)
    assert (found.run, found.saved_by_collapse, found.saved_by_racing, found.full) == (10, 0, 0, 30)


@pytest.mark.parametrize(
    ("score", "skill", "verdict", "wrong"),
    [
        (0.60, 0.20, Verdict.LEARNED, 1),
        (0.54, 0.20, Verdict.LEARNED, 0),
        (0.60, 0.01, Verdict.LEARNED, 0),
        (0.60, None, Verdict.LEARNED, 1),
        (None, None, Verdict.COLLAPSED, 0),
    ],
)
def test_a_stop_was_wrong_if_the_fit_clearly_learned(make_trial, labels, score, skill, verdict, wrong) -> None:
    fit = replace(make_trial(labels).fits[0], score=score, skill=skill, verdict=verdict, audit=WOULD_BE)
    found = counts.audit([fit, make_trial(labels, 1).fits[0]], chance=0.5)
    assert (found.checked, found.wrongly_stopped) == (1, wrong)


def test_nothing_checked_has_no_bound(make_trial, labels) -> None:
    assert counts.audit(make_trial(labels).fits, 0.5).upper_95 is None


@pytest.mark.parametrize(("count", "n"), [(0, 10), (1, 10), (5, 20)])
def test_at_the_bound_so_few_would_be_seen_one_time_in_twenty(count, n) -> None:
    assert binom.cdf(count, n, counts.upper_bound(count, n)) == pytest.approx(0.05)


def test_all_wrong_leaves_no_bound_below_one() -> None:
    assert counts.upper_bound(4, 4) == 1.0


def test_a_classifier_that_is_solved_exactly_has_no_epochs_to_run_or_save(make_trial, labels) -> None:
    exact = fake.exact(1, [0.8], raced=True)
    found = counts.epochs([make_trial(labels, 0), exact], folds=3, planned=10)
    assert (found.run, found.saved_by_collapse, found.saved_by_racing, found.full) == (30, 0, 0, 30)
