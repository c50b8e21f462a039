from __future__ import annotations

from dataclasses import replace

import pytest

from reports.sections.importance import matters, rows, safe_range_text, sentence
from search.selection.results import Importances, SafeRange
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

FULL = robust.everything(40)


def test_the_sentence_names_the_three_that_explain_most() -> None:
    assert sentence(FULL).endswith("learning rate (34 %), initializer (14 %) and convolutions (11 %).")
    assert "too few trials" in sentence(replace(FULL, importances=None))
    little = Importances(score={"batch_size": 0.048, "depth": 0.014}, collapse={}, trials=30, collapsed=0)
    assert sentence(replace(FULL, importances=little)).startswith("No single hyperparameter explains")


def test_rows_hold_importance_recommended_value_and_safe_range() -> None:
    assert FULL.recommended is not None
    found = {row.name: row for row in rows(FULL)}
    assert [row.name for row in rows(FULL)][:2] == ["learning_rate", "initializer"]
    assert found["learning_rate"].bar == 100.0
    assert found["learning_rate"].recommended == f"{FULL.recommended.ranked.trial.configuration.learning_rate:.3g}"
    assert (
        found["batch_size"].safe == f"{found['batch_size'].recommended} to {2 * int(found['batch_size'].recommended)}"
    )
    assert found["batch_size"].seen == 5
    assert (found["normalization"].safe, found["normalization"].seen) == ("–", None)


def test_what_explains_nothing_and_has_no_room_is_a_word_in_the_note() -> None:
    assert {"depth", "horizontal_flip", "weight_decay"}.isdisjoint(row.name for row in rows(FULL))
    assert matters(FULL).rows_note.endswith(
        "Only the recommended value is known to be safe for depth and horizontal flip."
    )


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (SafeRange(low=0.001, high=0.01, choices=(), configurations=3), "0.001 to 0.01"),
        (SafeRange(low=16, high=16, choices=(), configurations=1), "16"),
        (SafeRange(low=None, high=None, choices=("relu", "elu"), configurations=2), "relu, elu"),
        (SafeRange(low=None, high=None, choices=(False,), configurations=2), "no"),
        (SafeRange(low=None, high=None, choices=(), configurations=0), "–"),
    ],
)
def test_safe_ranges_in_words(held: SafeRange, text: str) -> None:
    assert safe_range_text(held) == text


def test_slices_are_of_the_most_important_first() -> None:
    titles = [one.title for one in matters(FULL).slices]
    assert titles[:3] == ["learning rate", "initializer", "convolutions"]
    assert len(titles) == 6
    assert matters(fake.results()).slices == ()
