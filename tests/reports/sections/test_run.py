from __future__ import annotations

from dataclasses import replace

from reports.sections.run import run
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust


def test_trials_are_counted_by_how_they_ended() -> None:
    results = fake.results(fake.trials(40))
    rows = run(results).states
    assert sum(row.trials for row in rows) == 40
    assert [row.state for row in rows] == ["scored on all folds", "collapsed", "stopped early"]


def test_further_trainings_are_named() -> None:
    results = robust.everything(20)
    facts = dict(run(results).facts)
    assert facts[str(len(results.study.further))].startswith("further fits")


def test_an_empty_run_says_how_to_go_on() -> None:
    found = run(fake.results())
    assert "same command again to continue" in found.sentence
    assert found.history is None


def test_batches_in_parts_are_noted() -> None:
    first, *others = fake.trials(4)
    split = replace(first, fits=tuple(replace(fit, start={"parts_of_a_batch": 4.0}) for fit in first.fits))
    (note,) = set(run(fake.results((split, *others))).notes) - set(run(fake.results((first, *others))).notes)
    assert note.startswith(f"In {len(first.fits)} fit")
    assert "in up to 4 parts" in note
