"""Trials as a space sees them: the methods that it calls, and a trial that answers with a given configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from spaces.config import FIELDS, Configuration, Value
from spaces.definitions import Choices, Definition, Fixed, Range, SpaceError, closest, described

SAME_FIELD: Final = {
    "pooling": "head",
    "backbone_pooling": "head",
    "normalization_small_batch": "normalization",
    "statistics_small_batch": "statistics",
}
"""Optuna names that stand for a field when only a part of its choices is open.

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
    """Trial that suggests the values of a given configuration and records them by Optuna's names.

    Args:
        configuration: the values to suggest.
        bend: fields that take the closest value on offer instead of raising SpaceError.
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
        """Return the configuration's value, one of the choices."""
        return self._answer(name, Choices(tuple(choices)))

    def _answer(self, name: str, offer: Range | Choices) -> Any:
        field = SAME_FIELD.get(name, name)
        value: Any = getattr(self.configuration, field)
        if value not in offer and field in self.bend:
            value = closest(value, offer)
        if value not in offer:
            raise SpaceError(f"{field}: {described(offer)} can be searched; the configuration has {value!r}.")
        self.parameters[name] = value
        return value


def suggest(trial: Suggest, name: str, field: str, definition: Definition) -> Any:
    """Suggest a value of a definition.

    Args:
        trial: of Optuna, or one like it.
        name: in Optuna.
        field: of the configuration, which says whether numbers are whole.
        definition: what the value may be; a fixed one is returned without asking the trial.
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
