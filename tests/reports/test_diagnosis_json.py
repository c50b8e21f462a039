from __future__ import annotations

import json

from reports.diagnosis_json import diagnosis_json
from search.diagnosis.evidence import NetworkState
from tests.reports import fake_diagnosis as fake


def test_schema_one() -> None:
    found = json.loads(diagnosis_json(fake.diagnosis()))
    assert (found["schema"], found["healthy"], found["verdict"], found["seconds"]) == (1, False, "collapsed", 93.4)
    assert found["causes"][0] == {
        "code": "unscaled-input",
        "score": 0.8,
        "layer": None,
        "evidence": {"dead_share": 0.93},
        "confirmed": True,
    }
    assert found["mends"][0] == {
        "code": "unscaled-input",
        "change": "model.add(layers.Rescaling(1 / 255))",
        "before": [0.5, 0.5, 0.51],
        "after": [0.9, 0.92, 0.88],
        "seeds": [0, 1, 2],
        "confirmed": True,
    }
    assert [cause["code"] for cause in found["remarks"]] == ["majority-class"]


def test_a_slow_network_is_healthy_and_has_no_causes() -> None:
    found = json.loads(diagnosis_json(fake.diagnosis(NetworkState.SLOW)))
    assert (found["healthy"], found["verdict"], found["causes"], found["mends"]) == (True, "slow", [], [])


def test_numbers_that_json_does_not_know_are_null() -> None:
    text = diagnosis_json(fake.hostile())
    found = json.loads(text, parse_constant=lambda name: f"not JSON: {name}")
    assert found["causes"][0]["evidence"] == {fake.EVIL: None, "b": "\x1b[31m<b>"}
    assert found["mends"][0]["after"] == [None, 0.9, 0.9]
