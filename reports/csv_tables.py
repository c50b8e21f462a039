"""`trials.csv` and `fits.csv`: the records of the ledger as tables; equal runs give equal files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

import pandas as pd

from search.records import Fit, Trial, Verdict
from search.selection.results import Finalist, Ranked, Results
from spaces.config import Configuration, Value

FLOAT_FORMAT: Final = "%.6g"

FIT_COLUMNS: Final = (
    "key",
    "trial",
    "stage",
    "repeat",
    "fold",
    "seed",
    "verdict",
    "reason",
    "epochs",
    "seconds",
    "score",
    "loss",
    "skill",
    "attempt",
    "configuration",
    "epochs_planned",
    "evidence",
    "audit_reason",
    "audit_epoch",
)

HYPERPARAMETERS: Final = tuple(field.name for field in fields(Configuration))

TRIAL_COLUMNS: Final = (
    "trial",
    "state",
    *HYPERPARAMETERS,
    "folds",
    "pooled",
    "se",
    "worst",
    "reason",
    "seconds",
    "rank",
    "mean",
    "healthy",
    "collapse_rate",
    "fits",
    "configuration",
    "n_conv",
    "n_dense",
    "finalist",
    "R",
    "confirmed_mean",
    "confirmed_se",
    "confirmed_worst",
    "confirmed_fits",
    "confirmed_collapsed",
    "veto",
)

_WHOLE: Final = (
    "rank",
    "audit_epoch",
    "finalist",
    "confirmed_fits",
    "confirmed_collapsed",
)  # whole numbers that may be missing


def fits_table(results: Results) -> pd.DataFrame:
    """Return one row per fit, sorted by trial, stage, repeat, fold and attempt, with each key once."""
    fits = [fit for trial in results.study.trials for fit in trial.fits]
    unique = {fit.key: fit for fit in (*fits, *results.study.further)}
    ordered = sorted(unique.values(), key=lambda fit: (fit.trial, fit.stage, fit.repeat, fit.fold, fit.attempt))
    return _table([_fit_row(fit) for fit in ordered], FIT_COLUMNS)


def trials_table(results: Results) -> pd.DataFrame:
    """Return one row per trial, sorted by number, with scores only for trials that were scored on all folds."""
    places = {ranked.trial.number: (place, ranked) for place, ranked in enumerate(results.ranking, start=1)}
    confirmed = {one.trial.number: _confirmed(place, one) for place, one in enumerate(results.finalists, start=1)}
    trials = sorted(results.study.trials, key=lambda trial: trial.number)
    rows = [
        _trial_row(trial, *places.get(trial.number, (None, None))) | confirmed.get(trial.number, {}) for trial in trials
    ]
    return _table(rows, TRIAL_COLUMNS)


def csv_text(table: pd.DataFrame) -> str:
    """Return the table as CSV, with floats in six significant digits and Unix line ends."""
    return str(table.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n"))


def _table(rows: list[dict[str, object]], columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns))
    return table.astype({name: "Int64" for name in _WHOLE if name in columns})


def _fit_row(fit: Fit) -> dict[str, object]:
    return {
        "key": fit.key,
        "trial": fit.trial,
        "stage": fit.stage,
        "repeat": fit.repeat,
        "fold": fit.fold,
        "seed": fit.seed,
        "verdict": str(fit.verdict),
        "reason": fit.reason,
        "epochs": fit.epochs,
        "seconds": round(fit.seconds, 3),
        "score": fit.score,
        "loss": fit.loss,
        "skill": fit.skill,
        "attempt": fit.attempt,
        "configuration": fit.configuration,
        "epochs_planned": fit.epochs_planned,
        "evidence": _evidence(fit.evidence),
        "audit_reason": fit.audit.reason if fit.audit else None,
        "audit_epoch": fit.audit.epoch if fit.audit else None,
    }


def _evidence(evidence: Mapping[str, float]) -> str | None:
    if not evidence:
        return None
    return json.dumps({name: FLOAT_FORMAT % value for name, value in sorted(evidence.items())})


def _trial_row(trial: Trial, rank: int | None, ranked: Ranked | None) -> dict[str, object]:
    scored_folds = {fit.fold for fit in trial.fits if fit.verdict is not Verdict.FAILED}
    return {
        "trial": trial.number,
        "state": str(trial.state),
        **_hyperparameters(trial.configuration),
        "folds": len(scored_folds),
        "pooled": ranked.pooled if ranked else None,
        "se": ranked.se if ranked else None,
        "worst": ranked.worst if ranked else None,
        "reason": trial.reason,
        "seconds": round(trial.seconds, 3),
        "rank": rank,
        "mean": ranked.mean if ranked else None,
        "healthy": ranked.healthy if ranked else None,
        "collapse_rate": ranked.collapse_rate if ranked else None,
        "fits": len(trial.fits),
        "configuration": trial.configuration.hash,
        "n_conv": trial.configuration.n_conv,
        "n_dense": trial.configuration.n_dense,
    }


def _hyperparameters(configuration: Configuration) -> dict[str, Value | None]:
    """Return every field by name; of a classifier that is solved exactly those without an effect are None."""
    values: dict[str, Value | None] = {**configuration.as_dict()}
    if configuration.is_closed_form:
        values.update(dict.fromkeys(values.keys() - set(configuration.active)))
    return values


def _confirmed(place: int, finalist: Finalist) -> dict[str, object]:
    """Return the columns of a finalist; its fits are in `fits.csv` with the stage `confirm`."""
    return {
        "finalist": place,
        "R": finalist.robust,
        "confirmed_mean": finalist.mean,
        "confirmed_se": finalist.se,
        "confirmed_worst": finalist.worst,
        "confirmed_fits": len(finalist.fits),
        "confirmed_collapsed": finalist.collapsed,
        "veto": finalist.veto,
    }
