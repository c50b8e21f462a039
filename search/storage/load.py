"""Records read back from the database, from which reports and a resumed search start."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from search.errors import DamagedError, UserError
from search.records import (
    BESIDE_TRIALS,
    ON_SEARCH_FOLDS,
    Ablation,
    AblationStep,
    Confirmation,
    DataSummary,
    Fit,
    Sensitivity,
    StudyRecord,
    TestScore,
    Trial,
    TrialState,
    Variant,
    Waypoint,
)
from search.settings import Identity, Plan, TrainingProtocol
from search.storage.database import closing, ledger_engine, open_storage
from search.storage.ledger import Ledger, is_replaceable
from search.storage.trial_attributes import CONFIGURATION, PLACE, REASON, SECONDS, STATE, is_done
from spaces.config import Configuration

_TEXT_SETTINGS: Final = frozenset({"data", "groups", "labels", "metric", "out", "space", "start", "test", "weights"})
"""Options whose values are text, whatever it looks like: a folder may be called 7."""


def open_study(folder: Path, url: str | None = None, name: str = "steadynet") -> StudyRecord:
    """Read the study of a run folder, without its images.

    Raises:
        UserError: there is none.
        DamagedError: it can't be read.
    """
    storage = open_storage(folder, url, create=False)
    with closing(storage):
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            wanted = "Pass the --out (and --study) of an earlier search."
            raise UserError(f"no study {name!r} in {folder}. {wanted}") from None
        ledger = Ledger(ledger_engine(storage), name)
        if ledger.fact("data") is None:
            raise UserError(f"the search in {folder} ended before its images were read. Run the same search again.")
        return read_study(ledger, study)


def read_study(ledger: Ledger, study: optuna.Study, known: Sequence[Trial] = ()) -> StudyRecord:
    """Read everything that stands in the ledger and in Optuna's study, as one record.

    Args:
        ledger: of the study.
        study: Optuna's.
        known: trials read before; those that can't have changed since are not read again.
    """

    def fact(name: str) -> Any:
        value = ledger.fact(name)
        if value is None:
            raise DamagedError(
                f"the study has no {name!r}, since its first start was cut off. Run the same search again."
            )
        return value

    plan, groups = fact("plan"), ledger.fact("groups")
    settings = fact("settings")
    return StudyRecord(
        name=study.study_name,
        data=DataSummary(**fact("data")),
        labels=np.array(fact("labels"), dtype=np.int64),
        groups=None if groups is None else np.array(groups, dtype=np.int64),
        identity=Identity(**fact("identity")),
        plan=Plan(**{**plan, "notes": tuple(plan["notes"])}),
        protocol=TrainingProtocol.from_stored(fact("protocol")),
        settings={key: typed_setting(key, value) for key, value in settings.items() if key != "command"},
        trials=_all_trials(ledger, study, known),
        seconds=float(max(ledger.hosts_facts("seconds"), default=0.0)),
        device=fact("device"),
        versions=fact("versions"),
        command=settings["command"],
        further=read_further(ledger),
        baselines=ledger.fact("baselines") or {},
        files=tuple(ledger.fact("files") or ()),
        thumbnails=read_thumbnails(ledger),
        confirmation=restored_confirmation(ledger.fact("confirmation")),
        sensitivity=restored_sensitivity(ledger.fact("surroundings")),
        test=restored_test(ledger.fact("test")),
        ablation=restored_ablation(ledger.fact("ablation")),
        findings=tuple(
            (str(kind), str(severity), str(detail)) for kind, severity, detail, _ in ledger.fact("findings") or ()
        ),
    )


def typed_setting(name: str, value: Any) -> Any:
    """Return the value of a command-line option with its type, such as `True` for "True".

    Studies made before values were stored with their types have text throughout.

    Args:
        name: of the option, without dashes.
        value: as stored.
    """
    if not isinstance(value, str) or name in _TEXT_SETTINGS:
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def read_further(ledger: Ledger) -> tuple[Fit, ...]:
    """Read the fits of finalists, the final training and other stages beside the trials."""
    return tuple(ledger.fits(stages=BESIDE_TRIALS))


def read_thumbnails(ledger: Ledger) -> dict[int, str]:
    """Read the small pictures, PNG in base64, by row of the image set."""
    return {int(row): image for row, image in (ledger.fact("thumbnails") or {}).items()}


def restored_confirmation(stored: Any) -> Confirmation | None:
    """Rebuild the confirmation from the ledger's fact; None from None."""
    if stored is None:
        return None
    lists = {name: tuple(stored[name]) for name in ("finalists", "notes")}
    return Confirmation(**{**stored, **lists})


def restored_test(stored: Any) -> TestScore | None:
    """Rebuild the test score from the ledger's fact; None from None."""
    return None if stored is None else TestScore(**{**stored, "offset": tuple(stored.get("offset", ()))})


def stored_sensitivity(sensitivity: Sensitivity) -> dict[str, Any]:
    """Return the ledger's fact about a sensitivity, from which `restored_sensitivity` rebuilds it."""
    variants = [asdict(variant) for variant in sensitivity.variants]
    return {"centre": sensitivity.centre, "folds": sensitivity.folds, "copies": variants}  # the key of earlier versions


def restored_sensitivity(stored: Any) -> Sensitivity | None:
    """Rebuild the sensitivity from the ledger's fact; None from None."""
    if stored is None:
        return None
    variants = tuple(
        Variant(
            configuration=Configuration(**variant["configuration"]),
            changes={name: tuple(ends) for name, ends in variant["changes"].items()},
        )
        for variant in stored["copies"]
    )
    return Sensitivity(centre=stored["centre"], folds=stored["folds"], variants=variants)


def restored_ablation(stored: Any) -> Ablation | None:
    """Rebuild the ablation from the ledger's fact; None from None."""
    if stored is None:
        return None
    steps = tuple(_step(step) for step in stored["steps"])
    return Ablation(**{**stored, "start": _waypoint(stored["start"]), "steps": steps})


def _step(stored: Mapping[str, Any]) -> AblationStep:
    instead = stored["instead"]
    return AblationStep(
        changes={name: (before, after) for name, (before, after) in stored["changes"].items()},
        reached=_waypoint(stored["reached"]),
        predicted=stored["predicted"],
        instead=None if instead is None else _step(instead),
    )


def _waypoint(stored: Mapping[str, Any]) -> Waypoint:
    return Waypoint(
        configuration=stored["configuration"], scores=tuple(stored["scores"]), reasons=tuple(stored["reasons"])
    )


def read_trials(ledger: Ledger, study: optuna.Study, but: Collection[int] = ()) -> list[Trial]:
    """Read the finished trials with their fits, in the order of their places, without interrupted ones.

    Args:
        ledger: of the study.
        study: Optuna's.
        but: places of trials that are not to be read.
    """
    wanted = [
        frozen
        for frozen in study.get_trials(deepcopy=False)
        if is_done(frozen) and CONFIGURATION in frozen.user_attrs and frozen.user_attrs[PLACE] not in but
    ]
    if but and not wanted:
        return []
    hashes = {Configuration(**frozen.user_attrs[CONFIGURATION]).hash for frozen in wanted} if but else None
    by_configuration: defaultdict[str, list[Fit]] = defaultdict(list)
    for fit in ledger.fits(hashes, stages=ON_SEARCH_FOLDS):
        by_configuration[fit.configuration].append(fit)
    return sorted((_trial(frozen, by_configuration) for frozen in wanted), key=lambda trial: trial.number)


def _all_trials(ledger: Ledger, study: optuna.Study, known: Sequence[Trial]) -> tuple[Trial, ...]:
    settled = [trial for trial in known if not any(map(is_replaceable, trial.fits))]
    new = read_trials(ledger, study, but={trial.number for trial in settled})
    return tuple(sorted([*settled, *new], key=lambda trial: trial.number))


def _trial(frozen: FrozenTrial, fits: defaultdict[str, list[Fit]]) -> Trial:
    attributes = frozen.user_attrs
    configuration = Configuration(**attributes[CONFIGURATION])
    state = TrialState(attributes.get(STATE, TrialState.FAILED.value))
    folds = len(frozen.intermediate_values) + (state is TrialState.FAILED)  # a later trial of the same may have more
    return Trial(
        number=int(attributes[PLACE]),
        state=state,
        configuration=configuration,
        fits=tuple(sorted((fit for fit in fits[configuration.hash] if fit.fold < folds), key=_place)),
        reason=attributes.get(REASON),
        seconds=float(attributes.get(SECONDS, 0.0)),
    )


def _place(fit: Fit) -> tuple[int, int]:
    return fit.fold, fit.attempt
