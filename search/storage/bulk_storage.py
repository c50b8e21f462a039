"""Optuna's storage in a database, written with half the transactions and read without an object for each row."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState


class BulkStorage(optuna.storages.RDBStorage):
    """Optuna's storage, in Optuna's tables, that writes a trial's parameters together and reads trials as plain rows.

    A trial's parameters are written with whatever is written next of the trial: Optuna makes a transaction for each of
    them, some twenty a trial. Nothing new for those who read the trial meanwhile: Optuna's own cache may hold
    parameters back until the trial's state changes. The first trial of a process is written as by Optuna, which
    compares its parameters with those of older trials.

    What belongs to trials is read by one plain query a table, and equal distributions are one object, which takes a
    fifth of the time and a quarter of the memory (`benchmarks/growth.py storage`).

    Args:
        arguments: of `optuna.storages.RDBStorage`, as are `options`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._held: dict[int, list[dict[str, Any]]] = {}  # rows of parameters by the trial's ID
        try:
            super().__init__(*arguments, **options)
        except BaseException:
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        if previous_distribution is None:  # the first of this process: Optuna looks into older trials
            self._write_held(trial_id)
            super()._set_trial_param(trial_id, param_name, param_value_internal, distribution, None)
            return
        if trial_id not in self._held:
            with _create_scoped_session(self.scoped_session) as session:
                self._check_updatable(trial_id, session)
        check_distribution_compatibility(previous_distribution, distribution)
        row = {"param_name": param_name, "param_value": param_value_internal}
        row["distribution_json"] = distribution_to_json(distribution)
        self._held.setdefault(trial_id, []).append(row)

    def _check_updatable(self, trial_id: int, session: Any) -> None:
        trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
        self.check_trial_is_updatable(trial_id, trial.state)

    def _write_held(self, trial_id: int) -> None:
        """Held until it is written: this may be called again after the database was away."""
        if trial_id not in self._held:
            return
        with _create_scoped_session(self.scoped_session, True) as session:
            self._check_updatable(trial_id, session)
            session.add_all(models.TrialParamModel(trial_id=trial_id, **row) for row in self._held[trial_id])
        del self._held[trial_id]

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of the trial, after its parameters."""
        self._write_held(trial_id)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of Optuna's, after the parameters of the trial."""
        self._write_held(trial_id)
        super().set_trial_system_attr(trial_id, key, value)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Write a reported value, after the parameters of the trial."""
        self._write_held(trial_id)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Write the state of the trial, after its parameters."""
        self._write_held(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def get_trial_param(self, trial_id: int, param_name: str) -> float:
        """The value of a parameter, held back or not, in Optuna's internal representation."""
        self._write_held(trial_id)
        return super().get_trial_param(trial_id, param_name)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial, with parameters that were held back."""
        self._write_held(trial_id)
        with _create_scoped_session(self.scoped_session) as session:
            found = _trials(session, _TRIALS.trial_id == trial_id)
        if not found:
            raise KeyError(models.NOT_FOUND_MSG)
        return found[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        wanted: Any = _TRIALS.study_id == study_id
        if states is not None:
            wanted &= _TRIALS.state.in_([state for state in TrialState if state in states])
        if trial_id_greater_than > -1:
            older = [trial_id for trial_id in included_trial_ids if trial_id <= trial_id_greater_than]
            wanted &= (_TRIALS.trial_id > trial_id_greater_than) | _TRIALS.trial_id.in_(older)
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            return _trials(session, wanted)


_TRIALS: Any = models.TrialModel


def _trials(session: Any, wanted: Any) -> list[FrozenTrial]:
    """The trials that `wanted` selects, oldest first.

    Their states are read first: what belongs to a trial that has ended by then is complete.
    """
    trials = session.scalars(sa.select(_TRIALS).where(wanted).order_by(_TRIALS.trial_id)).all()
    if not trials:
        return []

    def of(model: Any, *names: str) -> Callable[[int], list[Any]]:
        """A function that returns the rows of a table that belong to a trial, in the order of their writing."""
        columns = [getattr(model, name) for name in names]
        query = sa.select(model.trial_id, *columns).join(_TRIALS, _TRIALS.trial_id == model.trial_id).where(wanted)
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for trial_id, *values in session.execute(query.order_by(*model.__mapper__.primary_key)):
            found[trial_id].append(values)
        return lambda trial_id: found.get(trial_id, [])

    value, report = models.TrialValueModel, models.TrialIntermediateValueModel
    parameters = of(models.TrialParamModel, "param_name", "param_value", "distribution_json")
    values = of(value, "objective", "value", "value_type")
    reports = of(report, "step", "intermediate_value", "intermediate_value_type")
    user = of(models.TrialUserAttributeModel, "key", "value_json")
    system = of(models.TrialSystemAttributeModel, "key", "value_json")
    return [
        FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=[value.stored_repr_to_value(*one) for _, *one in sorted(values(trial_id), key=itemgetter(0))]
            or None,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params={name: _distribution(text).to_external_repr(inner) for name, inner, text in parameters(trial_id)},
            distributions={name: _distribution(text) for name, _, text in parameters(trial_id)},
            user_attrs={key: json.loads(text) for key, text in user(trial_id)},
            system_attrs={key: json.loads(text) for key, text in system(trial_id)},
            intermediate_values={
                step: report.stored_repr_to_intermediate_value(*one) for step, *one in reports(trial_id)
            },
            trial_id=trial_id,
        )
        for trial_id, trial in ((trial.trial_id, trial) for trial in trials)
    ]


@lru_cache(maxsize=1000)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)
