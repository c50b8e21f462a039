"""The methods of an Optuna trial that a space calls, and a trial that answers with the values of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from spaces.config import FIELDS, Configuration, Value
from spaces.definitions import Choices, Definition, Fixed, Range, SpaceError, closest, described

SAME_FIELD: Final = {
    "pooling": "head",
    "backbone_pooling": "head",
    "backbone_pooling_last": "head",
    "pretrained_backbone": "backbone",
    "normalization_small_batch": "normalization",
    "statistics_small_batch": "statistics",
}
"""Optuna parameter -> its field, for parameters that offer only a part of the field's choices.

Optuna refuses a name whose choices change from trial to trial.
"""


class Suggest(Protocol):
    """Methods of a trial that a space calls; `optuna.Trial` and `optuna.trial.FixedTrial` have them."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Suggest a whole number from low to high, both included.

        Args:
            name: of the parameter.
            low: smallest value.
            high: largest value.
            step: distance of neighbouring values.
            log: whether to draw on a logarithmic scale.
        """

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a number from low to high, both included.

        Args:
            name: of the parameter.
            low: smallest value.
            high: largest value.
            step: distance of neighbouring values; None for any number.
            log: whether to draw on a logarithmic scale.
        """

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the choices."""


class ConfigurationTrial:
    """Trial that suggests the values of a given configuration and records them in `parameters`.

    The `suggest_` methods raise a `SpaceError` if the configuration's value is not among the values to choose from.

    Args:
        configuration: configuration whose values are suggested.
        bend: fields that take the closest possible value instead of raising an error.

    Attributes:
        parameters: Optuna's parameter name -> value, for the values suggested so far.
    """

    def __init__(self, configuration: Configuration, bend: tuple[str, ...] = ()) -> None:
        self.configuration = configuration
        self.bend = bend
        self.parameters: dict[str, Value] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return the configuration's value, a whole number."""
        return int(self._answer(name, Range(low, high, log, step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return the configuration's value, a number."""
        return float(self._answer(name, Range(low, high, log, step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the configuration's value, and record it in `parameters`.

        Raises:
            SpaceError: the value is none of `choices`, and the field may not be moved to the closest one (`bend`).
        """
        return self._answer(name, Choices(tuple(choices)))

    def _answer(self, name: str, offer: Range | Choices) -> Any:
        field = SAME_FIELD.get(name, name)
        value: Any = getattr(self.configuration, field)
        if value not in offer and field in self.bend:
            value = closest(value, offer)
        if value not in offer:
            raise SpaceError(f"{field}: expected {described(offer)}, as in the space, got {value!r}.")
        self.parameters[name] = value
        return value


def suggest(trial: Suggest, name: str, field: str, definition: Definition) -> Any:
    """Return the value that a trial suggests for a definition; a fixed value is returned without asking the trial.

    Args:
        trial: an Optuna trial, or an object with the same `suggest_` methods.
        name: name of the parameter in Optuna.
        field: field of the configuration, whose type tells whether numbers are integers.
        definition: how the value may vary.
    """
    match definition:
        case Fixed():
            return definition.value
        case Choices():
            return trial.suggest_categorical(name, definition.values)
        case Range() if FIELDS[field] == "int":
            low, high = int(definition.low), int(definition.high)
            return trial.suggest_int(name, low, high, step=int(definition.step or 1), log=definition.log)
        case Range():
            return trial.suggest_float(name, definition.low, definition.high, step=definition.step, log=definition.log)
