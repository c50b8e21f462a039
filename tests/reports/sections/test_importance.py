from __future__ import annotations

from dataclasses import replace

import pytest

from reports.sections.importance import kinds, kinds_sentence, matters, rows, safe_range_text, sentence
from search.selection.results import Family, SafeRange
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

FULL = robust.everything(40)


def test_the_sentence_names_the_three_that_explain_most() -> None:
    assert sentence(FULL).endswith("learning rate (34 %), initializer (14 %) and convolutions (11 %).")
    assert "too few trials" in sentence(replace(FULL, importances=None))


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


def family_of(backbone: str, best: float | None, se: float = 0.01) -> Family:
    return Family(
        backbone=backbone,
        trainable="" if backbone == "none" else "last_block",
        trials=9,
        judged=0 if best is None else 4,
        collapsed=2,
        best=best,
        se=None if best is None else se,
        median=None if best is None else best - 0.1,
        trial=None if best is None else 3,
        seconds=90.0,
    )


@pytest.mark.parametrize(
    ("scratch", "pretrained", "words"),
    [
        (
            0.70,
            0.80,
            "the best kind of network is mobilenet (last block), 0.100 ahead of from scratch.",
        ),
        (
            0.80,
            0.70,
            "the best kind of network is from scratch, 0.100 ahead of mobilenet (last block).",
        ),
        (0.70, 0.72, "The best pretrained network and the best network from scratch do not differ clearly."),
        (None, 0.72, "Only one kind of network was scored on all folds."),
    ],
)
def test_what_a_pretrained_network_brings_in_a_sentence(scratch: float | None, pretrained: float, words: str) -> None:
    found = (family_of("mobilenet", pretrained), family_of("none", scratch))
    assert kinds_sentence(replace(fake.results(), families=found)).endswith(words)


def test_kinds_that_were_never_judged_have_no_scores() -> None:
    table = kinds(replace(fake.results(), families=(family_of("mobilenet", 0.8), family_of("none", None))))
    assert [(row.name, row.trials, row.collapsed, row.judged) for row in table] == [
        ("mobilenet (last block)", 9, 2, 4),
        ("from scratch", 9, 2, 0),
    ]
    assert [row.best for row in table] == ["0.800 ± 0.010", "–"]
