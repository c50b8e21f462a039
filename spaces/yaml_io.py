"""Readers of spaces and configurations from YAML. Only plain values are ever read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

from spaces.config import BOUNDS, CHOICES, FIELDS, Configuration, ConfigurationError, Value, checked
from spaces.definitions import Choices, Definition, Fixed, Range, SpaceError
from spaces.plain_yaml import PlainYamlError, closest, kind, read, short, unknown_key
from spaces.presets import DEFAULT, PRESETS
from spaces.space import Space

EXPONENT: Final = re.compile(r"[-+]?[0-9]+\.?[0-9]*[eE][-+]?[0-9]+")
"""Pattern of numbers that YAML 1.1 reads as text, such as 1e-3: it requires a dot and a sign (1.0e-3)."""

REQUIRED: Final = tuple(field.name for field in fields(Configuration) if field.default is MISSING)


class ConfigurationFileError(ConfigurationError):
    """Error for a file of configurations that can't be used. Its message is one line that begins with the file."""


def load_space(name_or_path: str) -> Space:
    """Return a preset by its name, or the space that a YAML file describes.

    In a file every key is optional. Hyperparameters that it does not name keep the definition of the preset named under
    `preset`, or of `default`. `{value: v}` fixes a hyperparameter; `{choices: [...]}` and `{low: a, high: b, log: true,
    step: s}` search it. The parts that a range leaves out are taken from the preset. All values within `config.BOUNDS`
    and `config.CHOICES` are allowed, also those outside the preset.

    Raises:
        SpaceError: the name is unknown, the file does not exist, or it can't be used. The message is one line that
            names file, key, the value and what was expected.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    if path.suffix.lower() not in (".yaml", ".yml") and len(path.parts) == 1 and not path.exists():
        raise SpaceError(
            f"unknown space {name_or_path!r}{closest(name_or_path, PRESETS)}. Expected one of {', '.join(PRESETS)}, or "
            "the path of a YAML file."
        )
    try:
        content = read(path)
        if not isinstance(content, dict | None):
            raise SpaceError(f"expected a mapping of hyperparameters, got {kind(content)}: {short(content)}.")
        return _space(content or {}, path.stem)
    except (SpaceError, ConfigurationError, PlainYamlError) as error:
        raise SpaceError(f"{path}: {error}") from None


def load_configurations(path: str | Path) -> list[Configuration]:
    """Return the configurations in a YAML file: a flat mapping, a list of them, or a `best_config.yaml`.

    Raises:
        ConfigurationFileError: the file does not exist, or can't be used. The message is one line that names file, key,
            the value and what was expected.
    """
    path = Path(path)
    try:
        content = read(path)
        if not isinstance(content, list):
            return [configuration_of(content)]
        if not content:
            raise ConfigurationFileError("got an empty list. Expected a configuration as a mapping, or a list of them.")
        configurations = []
        for number, entry in enumerate(content, start=1):
            try:
                configurations.append(configuration_of(entry))
            except ConfigurationError as error:
                raise ConfigurationFileError(f"configuration {number}: {error}") from None
        return configurations
    except (SpaceError, ConfigurationError, PlainYamlError) as error:
        raise ConfigurationFileError(f"{path}: {error}") from None


def _space(content: Mapping[Any, Any], name: str) -> Space:
    preset = content.get("preset", "default")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise SpaceError(
            f"preset: unknown preset {short(preset)}{closest(preset, PRESETS)}. Expected one of {', '.join(PRESETS)}."
        )
    for key in content:
        if key != "preset" and key not in FIELDS:
            raise SpaceError(unknown_key(key, ("preset", *FIELDS)))
    base = PRESETS[preset]
    return base.changed({key: _definition(key, content[key], base) for key in FIELDS if key in content}, name=name)


def _definition(key: str, content: Any, base: Space) -> Definition:
    forms = "{value: ...} or {choices: [...]}" + (" or {low: ..., high: ...}" if key in BOUNDS else "")
    if not isinstance(content, dict) or not content:
        raise SpaceError(f"{key}: expected {forms}, got {kind(content)}: {short(content)}.")
    allowed = ("value", "choices", *(("low", "high", "log", "step") if key in BOUNDS else ()))
    for inner in content:
        if inner not in allowed:
            raise SpaceError(f"{key}: {unknown_key(inner, allowed)}")
    if len(content) > 1 and {"value", "choices"} & set(content):
        raise SpaceError(f"{key}: expected only one of {forms}, got {short(content)}.")
    if "value" in content:
        return Fixed(_value(key, content["value"]))
    if "choices" in content:
        choices = content["choices"]
        if not isinstance(choices, list) or not choices:
            raise SpaceError(f"{key}: choices must be a list such as {_example(key)}, got {short(choices)}.")
        return Choices(tuple(_value(key, value) for value in choices))
    return _range(key, content, base)


def _range(key: str, content: Mapping[str, Any], base: Space) -> Range:
    """Range of a file; what the file leaves out comes from the preset's range, else from the default space's."""
    model = next((d for d in (base.definitions[key], DEFAULT.definitions[key]) if isinstance(d, Range)), None)
    if model is None and not {"low", "high"} <= set(content):
        raise SpaceError(f"{key}: expected both low and high, got {short(dict(content))}.")
    low = _value(key, content["low"] if "low" in content else model and model.low)
    high = _value(key, content["high"] if "high" in content else model and model.high)
    log = content.get("log", model.log if model else False)
    if not isinstance(log, bool):
        raise SpaceError(f"{key}: log must be true or false, got {short(log)}.")
    if "step" in content:
        return Range(float(low), float(high), log, _number(content["step"]))
    wanted = Range(float(low), float(high), log, None if log or model is None else model.step)
    # The preset's grid is a convenience: where it doesn't fit the user's ends, the range is continuous.
    return wanted if wanted.high in wanted and wanted.low < wanted.high else Range(wanted.low, wanted.high, log)


def configuration_of(content: Any) -> Configuration:
    """Return the configuration in a flat mapping, or in the content of a `best_config.yaml`.

    Raises:
        ConfigurationError: a key is unknown or missing, or two values contradict each other.
        SpaceError: a value is not allowed. The message begins with the key.
    """
    if isinstance(content, dict) and isinstance(content.get("configuration"), dict):
        content = content["configuration"].get("sampled")  # a best_config.yaml
    if not isinstance(content, dict):
        raise ConfigurationFileError(
            f"expected a configuration as a mapping such as 'depth: 3', got {kind(content)}: {short(content)}."
        )
    for key in content:
        if key not in FIELDS:
            raise ConfigurationFileError(unknown_key(key, FIELDS))
    if missing := [name for name in REQUIRED if name not in content]:
        raise ConfigurationFileError(f"{missing[0]}: missing. A configuration must give {', '.join(REQUIRED)}.")
    values: dict[str, Any] = {key: _value(key, value) for key, value in content.items()}
    return Configuration(**values)


def _value(key: str, value: Any) -> Value:
    """Check a value and bring it to the field's type; the error begins with the key."""
    try:
        return checked(key, _number(value) if key in BOUNDS else value)
    except ConfigurationError as error:
        near = closest(value, CHOICES[key]) if key in CHOICES else ""
        raise SpaceError(f"{key}: {str(error).removeprefix(f'{key} ').rstrip('.')}{near}.") from None


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _example(key: str) -> str:
    return f"[{', '.join(CHOICES[key][:2])}]" if key in CHOICES else "[1, 2]" if key in BOUNDS else "[false, true]"
