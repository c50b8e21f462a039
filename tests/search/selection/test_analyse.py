from dataclasses import replace

import pytest

from search.metric_definitions import METRICS
from search.records import TrialState
from search.selection.analyse import analyse


def _trials(make_trial, labels, metric="balanced_accuracy"):
    return [
        make_trial(labels, 0, 0.5, metric=metric),
        make_trial(labels, 1, 3.0, metric=metric, changes={"depth": 5}),
        make_trial(labels, 2, metric=metric, run=1, state=TrialState.RACED),
        make_trial(labels, 3, metric=metric, run=2, collapsed=(1,)),
    ]


@pytest.mark.parametrize("metric", METRICS)
def test_a_study_in_every_metric(make_trial, make_study, labels, metric) -> None:
    results = analyse(make_study(labels, _trials(make_trial, labels, metric), metric=metric))
    assert [one.trial.number for one in results.ranking] == [1, 0]
    assert results.recommended is not None
    assert results.recommended.ranked is results.ranking[0]
    assert results.recommended.parameters is not None
    assert set(results.recommended.promise.recalls) == {"class 0", "class 1", "class 2"}
    assert results.reason is None
    assert results.verdicts == {"learned": 8, "collapsed": 1, "stopped": 0, "failed": 0}
    assert results.collapse_reasons == {"dead-layer": 1}


def test_the_same_record_gives_the_same_results(make_trial, make_study, labels) -> None:
    study = make_study(labels, _trials(make_trial, labels))
    first, second = analyse(study), analyse(study)
    assert first.recommended == second.recommended
    assert first.ranking == second.ranking


def test_the_seed_of_the_study_decides_the_draws(make_trial, make_study, labels) -> None:
    study = make_study(labels, _trials(make_trial, labels))
    other = analyse(replace(study, identity=replace(study.identity, seed=1)))
    assert analyse(study).recommended.promise.value != other.recommended.promise.value


def test_nothing_at_all(make_study, labels) -> None:
    results = analyse(make_study(labels))
    assert results.recommended is None
    assert results.reason == "no configuration judged"
    assert results.ranking == ()
    assert results.epochs.full == 0
    assert results.depth_sentence


def test_only_an_interrupted_trial(make_trial, make_study, labels) -> None:
    trial = make_trial(labels, run=2, state=TrialState.INTERRUPTED)
    assert analyse(make_study(labels, [trial])).reason == "no configuration judged"


@pytest.mark.parametrize("collapsed", [True, False])
def test_none_healthy(make_trial, make_study, labels, collapsed) -> None:
    trials = [make_trial(labels, i, 0.0, **({"collapsed": (0,), "run": 1} if collapsed else {})) for i in range(3)]
    results = analyse(make_study(labels, trials))
    assert results.recommended is None
    assert results.reason == "no healthy configuration"


def test_a_strong_baseline_makes_the_promise_inconclusive(make_trial, make_study, labels) -> None:
    study = make_study(labels, _trials(make_trial, labels))
    strong = analyse(replace(study, baselines={"constant": 1 / 3, "knn": 0.99, "logistic": 0.5}))
    assert strong.recommended.promise.inconclusive
    assert not analyse(study).recommended.promise.inconclusive
