from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.errors import MismatchError
from search.settings import Identity
from search.storage.compatibility import refuse_other

STORED = Identity(fingerprint="aa", groups=None, image_size=32, folds=5, epochs=None, seed=0, metric="mcc", space="cc")


def test_the_same_passes() -> None:
    refuse_other(STORED, replace(STORED), Path("out"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "bb"}, r"other images .*\(there: aa, now: bb\)"),
        ({"groups": "g"}, r"other groups \(--groups\)"),
        ({"image_size": 16}, r"another --image-size \(there: 32, now: 16\)"),
        ({"folds": 3}, r"another number of --folds \(there: 5, now: 3\)"),
        ({"epochs": 9}, r"another number of --epochs \(there: auto, now: 9\)"),
        ({"seed": 1}, r"another --seed \(there: 0, now: 1\)"),
        ({"metric": "auc"}, r"another --metric \(there: mcc, now: auc\)"),
        ({"space": "dd"}, r"another --space \(there: cc, now: dd\)"),
        ({"folds": 3, "seed": 1}, r"--folds .*; another --seed .*\. Pass another --out"),
    ],
)
def test_each_difference_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MismatchError, match=message) as caught:
        refuse_other(STORED, replace(STORED, **changes), Path("runs/x"))
    assert str(caught.value).startswith("runs/x holds a study of ")
    assert "\n" not in str(caught.value)
