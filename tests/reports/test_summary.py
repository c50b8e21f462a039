from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.summary import plain, summary, summary_text
from search.records import TrialState
from spaces.config import Configuration
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_summary_has_the_promised_shape() -> None:
    content = strict(summary_text(fake.results(fake.trials(20), test=True, quarantined={"b.png": "x", "a.png": "y"})))
    assert set(content) == set(
        "schema reason data settings versions device seconds trials fits collapse_reasons causes symptoms control "
        "epochs audit baselines finalists recommended".split()
    )
    assert content["schema"] == 1
    assert content["reason"] is None
    assert set(content["data"]) == {"fingerprint", "classes", "images", "quarantined", "image_size"}
    assert content["data"]["quarantined"] == ["a.png", "b.png"]
    assert set(content["fits"]) == {"total", "learned", "collapsed", "stopped", "failed"}
    assert content["fits"]["total"] == sum(n for word, n in content["fits"].items() if word != "total")
    assert set(content["epochs"]) == {"run", "saved_by_collapse", "saved_by_racing", "full"}
    assert set(content["audit"]) == {"checked", "wrongly_stopped", "upper_95"}
    assert set(content["baselines"]) == {"constant", "knn", "logistic"}
    assert content["finalists"] == []
    assert set(content["recommended"]) == set(
        "configuration metric search_mean confirmed_mean se promise promise_low promise_high inconclusive "
        "images_needed worst_fit collapse_rate fits chance test".split()
    )
    assert content["recommended"]["confirmed_mean"] is None
    assert content["recommended"]["test"] == {"score": 0.81, "n": 60}


def test_confirmed_fits_decide_where_there_are_any() -> None:
    results = robust.confirmed(fake.results(fake.trials(20)), collapsed=2)
    best = results.recommended
    assert best is not None
    assert best.finalist is not None
    content = strict(summary_text(results))
    recommended = content["recommended"]
    assert recommended["confirmed_mean"] == pytest.approx(best.finalist.mean)
    assert recommended["search_mean"] == pytest.approx(best.ranked.pooled)
    assert recommended["se"] == pytest.approx(best.finalist.se)
    assert recommended["worst_fit"] == pytest.approx(best.finalist.worst)
    assert recommended["fits"] == 25
    assert recommended["collapse_rate"] == 2 / 25
    promised = {"configuration", "R", "mean", "se", "fits", "collapse_rate", "veto"}
    assert len(content["finalists"]) == len(results.finalists)
    for given, finalist in zip(content["finalists"], results.finalists, strict=True):
        assert promised <= set(given)
        assert given["R"] == pytest.approx(finalist.robust)
        assert Configuration(**given["configuration"]) == finalist.trial.configuration


def test_the_recommended_configuration_can_be_made_again() -> None:
    results = fake.results(fake.trials(20))
    assert results.recommended is not None
    values = strict(summary_text(results))["recommended"]["configuration"]
    assert Configuration(**values) == results.recommended.ranked.trial.configuration


def test_without_a_recommendation_the_reason_stands_there() -> None:
    content = summary(fake.results([fake.trial(0, [], "dead-layer")], reason="no healthy configuration"))
    assert content["recommended"] is None
    assert content["reason"] == "no healthy configuration"
    assert content["collapse_reasons"] == {"dead-layer": 1}


def test_interrupted_trials_do_not_count() -> None:
    cut = replace(fake.trial(1, [0.7]), state=TrialState.INTERRUPTED)
    assert summary(fake.results([fake.trial(0, [0.8] * 5), cut]))["trials"] == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (np.float32("inf"), None),
        ({"a": (1, np.int64(2))}, {"a": [1, 2]}),
        (Path("a/b"), "a/b"),
        (TrialState.RACED, "raced"),
        (np.array([0.5, np.nan]), [0.5, None]),
        (True, True),
    ],
)
def test_values_become_plain(value: object, expected: object) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)
