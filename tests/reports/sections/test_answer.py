from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.sections.answer import (
    answer,
    equals,
    marks,
    next_steps,
    not_confirmed,
    nothing,
    refits,
    warnings,
)
from search.selection.results import Results
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

BARE = fake.results(fake.trials(12))
FULL = robust.everything(30)
finite = st.floats(-40, 1)


@given(value=finite, chance=finite, baseline=finite)
def test_every_mark_and_whisker_lies_inside_the_scale(value: float, chance: float, baseline: float) -> None:
    assert FULL.recommended is not None
    promise = replace(FULL.recommended.promise, value=value, low=value - 0.1, high=min(1.0, value + 0.1))
    results = replace(
        FULL,
        chance=chance,
        recommended=replace(FULL.recommended, promise=promise),
        study=replace(FULL.study, baselines={"knn": baseline}),
    )
    found = answer(results)
    values = [v for mark in found.marks for v in (mark.value, mark.low, mark.high) if v is not None]
    for inside in (*values, *(mean for mark in found.marks for _, mean in mark.dots)):
        assert found.scale.low <= inside <= found.scale.high + 1e-9


def test_a_baseline_without_a_value_is_not_shown() -> None:
    study = replace(BARE.study, baselines={"knn": float("nan"), "logistic": 0.6, "constant": 0.5})
    names = [mark.name for mark in marks(replace(BARE, study=study))]
    assert names == ["promise", "search score", "logistic regression", "chance"]


def test_the_answer_holds_the_promise_against_everything_known() -> None:
    found = answer(FULL)
    names = [mark.name for mark in found.marks]
    assert names == [
        "promise",
        "test",
        "trained again",
        "other finalists",
        "search score",
        "nearest neighbour",
        "logistic regression",
        "chance",
    ]
    [others] = [mark for mark in found.marks if mark.dots]
    assert len(others.dots) == len(FULL.finalists) - 1
    assert "optimistic" in next(mark.note for mark in found.marks if mark.kind == "optimistic")


@pytest.mark.parametrize("collapsed", [0, 2, 25])
def test_refits_are_counted_with_their_bound(collapsed: int) -> None:
    results = robust.confirmed(BARE, collapsed=collapsed)
    assert results.recommended is not None
    assert results.recommended.finalist is not None
    found = refits(results.recommended.finalist)
    assert sum(found.collapsed) == collapsed
    assert len(found.collapsed) == 25
    assert found.sentence.startswith(f"{collapsed} of 25 fits collapsed; at most ")


def with_promise(results: Results, **changes: object) -> Results:
    assert results.recommended is not None
    promise = replace(results.recommended.promise, **changes)
    return replace(results, recommended=replace(results.recommended, promise=promise))


def test_an_inconclusive_answer_says_how_many_images_would_settle_it() -> None:
    needed = with_promise(BARE, inconclusive=True, images_needed=1240)
    assert "About 1,200 images in total would probably be enough to decide; you have 120." in warnings(needed)[0]
    unknown = with_promise(BARE, inconclusive=True)
    assert "More images, or images with more detail, may be enough to decide." in warnings(unknown)[0]
    assert warnings(BARE) == []


def test_a_test_score_below_the_interval_is_not_passed_over() -> None:
    assert FULL.study.test is not None
    low = replace(FULL, study=replace(FULL.study, test=replace(FULL.study.test, score=0.4)))
    assert any("it is chance, as there are 60 test images" in warning for warning in warnings(low))
    assert not any("luck" in warning for warning in warnings(FULL))


def test_copies_on_both_sides_of_splits_are_a_warning() -> None:
    apart = replace(BARE.study.data, apart=("tulip", "rose"))
    (warning,) = warnings(replace(BARE, study=replace(BARE.study, data=apart)))
    assert "both sides of splits in tulip, rose" in warning


def test_a_cliff_is_a_warning() -> None:
    assert any("cliff" in warning for warning in warnings(FULL))
    firm = robust.surrounded(BARE, cliff=False)
    assert not any("cliff" in warning for warning in warnings(firm))


def test_the_next_steps_are_commands_with_the_run_s_own_folders() -> None:
    study = replace(BARE.study, settings={"out": "runs/my moles"}, data=replace(BARE.study.data, folder="my moles"))
    (_, train), (_, predict) = next_steps(replace(BARE, study=study))
    assert train == (
        "python run_search.py train --config 'runs/my moles/best_config.yaml' --data 'my moles' --model model.keras"
    )
    assert predict == "python run_search.py predict --model model.keras --data ./new_images --csv out.csv"
    assert next_steps(fake.results()) == ()


def test_a_run_without_out_lies_under_runs() -> None:
    (_, train), _ = next_steps(BARE)
    assert "--config runs/images/best_config.yaml " in train


def test_equals_are_named() -> None:
    _, first, second = (finalist.trial.number for finalist in FULL.finalists if finalist.equal)
    assert equals(FULL) == (
        f"Trial {first} and trial {second} are not significantly different from the recommended one and may be as good."
    )
    assert equals(BARE) == ""


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (fake.results(), "ended before it tried a configuration"),
        (fake.results([fake.trial(0, [], "dead-layer")]), "No configuration was scored on all folds"),
        (fake.results(fake.trials(12), healthy=False), r"None of the \d+ configurations scored on all folds is above"),
        (replace(FULL, recommended=None), "None of the 6 finalists passed when trained again"),
    ],
)
def test_why_there_is_no_answer(results: Results, words: str) -> None:
    assert re.search(words, nothing(results))
    assert answer(results).nothing == nothing(results)


def test_what_was_not_confirmed_says_so() -> None:
    assert "It was not trained again on fresh splits. In the search, none of its 5 fits" in not_confirmed(BARE)
    assert FULL.recommended is not None
    cut = replace(FULL, recommended=replace(FULL.recommended, finalist=None))
    assert not_confirmed(cut).startswith("Its fits on fresh splits were not finished")
    assert not_confirmed(FULL) == ""
