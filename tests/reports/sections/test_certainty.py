from __future__ import annotations

from dataclasses import replace

from reports.sections.certainty import NOTHING_CONFIRMED, confidence, finalist_rows, folds_scale, notes, sentence
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

BARE = fake.results(fake.trials(40))
FULL = robust.everything(40)


def test_splits_that_there_was_no_time_for_are_told() -> None:
    results = robust.everything(20)
    plan = results.study.confirmation
    assert plan is not None
    assert notes(results) == plan.notes
    cut = replace(results, study=replace(results.study, confirmation=replace(plan, repeats=plan.planned - 1)))
    assert notes(cut)[-1] == f"Splits done: {plan.planned - 1} of {plan.planned}."
    assert notes(replace(results, study=replace(results.study, confirmation=None))) == ()


def test_finalists_say_what_decides_over_them() -> None:
    standings = [row.standing for row in finalist_rows(FULL)]
    assert standings == [
        "recommended",
        "not significantly different",
        "not significantly different",
        "ruled out: collapses too often",
        "not fitted further: clearly behind after two splits",
        "",
    ]


def test_the_sentence_counts_finalists_and_trainings() -> None:
    fits = sum(len(finalist.fits) for finalist in FULL.finalists)
    assert sentence(FULL).startswith("6 finalists were trained again on fresh splits")
    assert f"(5 splits of 5 folds): {fits} fits. 2 other finalists are not significantly different" in sentence(FULL)
    assert sentence(BARE) == NOTHING_CONFIRMED
    assert "nothing to train again" in sentence(fake.results())


def test_every_training_stands_in_the_figure_and_in_its_table() -> None:
    found = confidence(FULL)
    fits = sum(len(finalist.fits) for finalist in FULL.finalists)
    assert sum(len(row.scores) for row in found.splits) == fits
    assert found.figure is not None


def test_a_finalist_without_fits_is_shown_too() -> None:
    empty = replace(FULL.finalists[1], fits=(), scores=(), complete=False, dropped="no time")
    found = confidence(replace(FULL, finalists=(FULL.finalists[0], empty)))
    assert found.finalists[1].standing == "not fitted further: no time; not significantly different"


def test_fold_dots_share_one_scale_with_chance() -> None:
    scale = folds_scale(BARE)
    assert scale.low < BARE.chance
    assert scale.high >= max(score for ranked in BARE.ranking for score in ranked.folds)
