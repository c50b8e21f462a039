from __future__ import annotations

import io
from dataclasses import replace

import pandas as pd
import pytest

from reports.csv_tables import HYPERPARAMETERS, csv_text, fits_table, trials_table
from search.selection.results import Results
from spaces.config import Configuration
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])


def test_fits_csv_begins_with_the_promised_columns() -> None:
    table = read(csv_text(fits_table(fake.results(fake.trials(10)))))
    assert list(table.columns[:12]) == (
        "key trial stage repeat fold seed verdict reason epochs seconds score loss".split()
    )
    assert table["key"].is_unique
    assert set(table["verdict"]) == {"learned", "collapsed"}


def test_fits_are_sorted_whatever_order_they_came_in() -> None:
    trial = fake.trial(3, [0.8, 0.7, 0.9])
    second = fake.fit(3, 1, 0.6, attempt=1)
    shuffled = replace(trial, fits=(second, *reversed(trial.fits)))
    table = fits_table(fake.results([shuffled, fake.trial(1, [0.5])]))
    assert table[["trial", "fold", "attempt"]].to_numpy().tolist() == [
        [1, 0, 0],
        [3, 0, 0],
        [3, 1, 0],
        [3, 1, 1],
        [3, 2, 0],
    ]


def test_equal_runs_differ_in_seconds_only() -> None:
    trials = fake.trials(6)
    slower = [
        replace(t, seconds=9 * t.seconds, fits=tuple(replace(f, seconds=9 * f.seconds) for f in t.fits)) for t in trials
    ]
    first, second = (read(csv_text(fits_table(fake.results(some)))) for some in (trials, slower))
    assert csv_text(first.drop(columns="seconds")) == csv_text(second.drop(columns="seconds"))


def test_trials_csv_has_a_column_a_hyperparameter_and_the_promised_ones() -> None:
    columns = list(trials_table(fake.results(fake.trials(4))).columns)
    assert columns[:2] == ["trial", "state"]
    assert tuple(columns[2 : 2 + len(HYPERPARAMETERS)]) == HYPERPARAMETERS
    after = columns[2 + len(HYPERPARAMETERS) :]
    assert after[:6] == ["folds", "pooled", "se", "worst", "reason", "seconds"]


def test_trials_csv_gives_scores_to_judged_trials_only() -> None:
    judged, collapsed = fake.trial(0, [0.8] * 5), fake.trial(1, [0.7], "dead-layer")
    table = read(csv_text(trials_table(fake.results([judged, collapsed])))).set_index("trial")
    assert table.loc[0, "pooled"] == 0.8
    assert table.loc[0, "rank"] == 1
    assert table.loc[0, "folds"] == 5
    assert table.loc[1, ["pooled", "se", "worst", "rank"]].isna().all()
    assert table.loc[1, "state"] == "collapsed"
    assert table.loc[1, "reason"] == "dead-layer"
    assert table.loc[1, "folds"] == 2


def test_finalists_have_their_confirmed_figures_and_fits() -> None:
    results = robust.confirmed(fake.results(fake.trials(30)))
    table = read(csv_text(trials_table(results))).set_index("trial")
    for place, finalist in enumerate(results.finalists, start=1):
        row = table.loc[finalist.trial.number]
        assert (row["finalist"], row["confirmed_fits"]) == (place, len(finalist.fits))
        assert row["R"] == pytest.approx(finalist.robust, rel=1e-5)
        assert row["veto"] == finalist.veto
    assert table["finalist"].count() == len(results.finalists)
    fits = read(csv_text(fits_table(results)))
    assert (fits["stage"] == "confirm").sum() == sum(len(finalist.fits) for finalist in results.finalists)


def test_the_word_none_stays_a_choice() -> None:
    trial = replace(fake.trial(0, [0.8]), configuration=fake.configuration(0, normalization="none"))
    assert read(csv_text(trials_table(fake.results([trial]))))["normalization"].tolist() == ["none"]


def test_a_row_gives_its_configuration_back_to_six_digits() -> None:
    config = fake.configuration(5, learning_rate=0.001)
    row = trials_table(fake.results([replace(fake.trial(0, [0.8]), configuration=config)])).iloc[0]
    values = {name: row[name].item() if hasattr(row[name], "item") else row[name] for name in HYPERPARAMETERS}
    assert Configuration(**values) == config


def test_an_empty_study_has_the_same_columns() -> None:
    empty, full = fake.results(), fake.results(fake.trials(3))
    for table in (fits_table, trials_table):
        assert _header(empty, table) == _header(full, table)


def _header(results: Results, table: object) -> str:
    assert callable(table)
    return csv_text(table(results)).split("\n")[0]
