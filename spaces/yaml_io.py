"""Spaces and configurations from YAML. Nothing but plain values is ever read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

import yaml

from spaces.config import BOUNDS, CHOICES, FIELDS, Configuration, ConfigurationError, Value, checked
from spaces.definitions import Choices, Definition, Fixed, Range, SpaceError
from spaces.presets import DEFAULT, PRESETS
from spaces.space import Space

EXPONENT: Final = re.compile(r"[-+]?[0-9]+\.?[0-9]*[eE][-+]?[0-9]+")
"""Numbers that YAML 1.1 takes for text, such as 1e-3: it wants a dot and a sign (1.0e-3)."""

REQUIRED: Final = tuple(field.name for field in fields(Configuration) if field.default is MISSING)


class ConfigurationFileError(ConfigurationError):
    """A file of configurations can't be used as it is. One line that begins with the file."""


def load_space(name_or_path: str) -> Space:
    """The preset of that name, or the space that a YAML file describes.

    In a file every key is optional: what it does not name keeps the preset's definition (`preset:`, `default` without).
    `{value: v}` fixes, `{choices: [...]}` and `{low: a, high: b, log: true, step: s}` search; what a range leaves out
    is taken from the preset. Anything within `config.BOUNDS` and `config.CHOICES` is allowed, also beyond the preset.

    Raises:
        SpaceError: unknown name, no such file, or a file that can't be used; one line with file, key, what came and
            what is allowed.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    if path.suffix.lower() not in (".yaml", ".yml") and len(path.parts) == 1 and not path.exists():
        raise SpaceError(
            f"unknown space {name_or_path!r}{_closest(name_or_path, PRESETS)}; known are {', '.join(PRESETS)}. "
            f"Or give a YAML file."
        )
    try:
        content = _read(path)
        if not isinstance(content, dict | None):
            raise SpaceError(f"a space is a mapping of hyperparameters, got {_kind(content)}: {_short(content)}.")
        return _space(content or {}, path.stem)
    except (SpaceError, ConfigurationError) as error:
        raise SpaceError(f"{path}: {error}") from None


def load_configurations(path: str | Path) -> list[Configuration]:
    """The configurations of a YAML file: one as a flat mapping, a list of them, or a `best_config.yaml`.

    Raises:
        ConfigurationFileError: no such file, or one that can't be used; one line with file, key, what came and what is
            allowed.
    """
    path = Path(path)
    try:
        content = _read(path)
        if not isinstance(content, list):
            return [_configuration(content)]
        if not content:
            raise ConfigurationFileError("no configuration in it. Give one as a mapping, or a list of them.")
        configurations = []
        for number, entry in enumerate(content, start=1):
            try:
                configurations.append(_configuration(entry))
            except ConfigurationError as error:
                raise ConfigurationFileError(f"configuration {number}: {error}") from None
        return configurations
    except (SpaceError, ConfigurationError) as error:
        raise ConfigurationFileError(f"{path}: {error}") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses a key given twice, where it would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise SpaceError(f"{key.value}: given twice, again in line {key.start_mark.line + 1}. Leave one out.")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # a subclass of the safe loader
    except FileNotFoundError:
        raise SpaceError("no such file.") from None
    except OSError as error:
        raise SpaceError(f"can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SpaceError("is not a text file in UTF-8.") from None
    except yaml.constructor.ConstructorError as error:
        raise SpaceError(f"{error.problem}{_line(error)}. Only plain values are read.") from None
    except yaml.MarkedYAMLError as error:
        raise SpaceError(f"is not YAML: {error.problem}{_line(error)}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"is not YAML: {' '.join(str(error).split())}.") from None


def _line(error: yaml.MarkedYAMLError) -> str:
    return f", line {error.problem_mark.line + 1}" if error.problem_mark else ""


def _space(content: Mapping[Any, Any], name: str) -> Space:
    preset = content.get("preset", "default")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise SpaceError(
            f"preset: unknown preset {_short(preset)}{_closest(preset, PRESETS)}; known are {', '.join(PRESETS)}."
        )
    for key in content:
        if key != "preset" and key not in FIELDS:
            raise SpaceError(_unknown_key(key, ("preset", *FIELDS)))
    base = PRESETS[preset]
    return base.changed({key: _definition(key, content[key], base) for key in FIELDS if key in content}, name=name)


def _definition(key: str, content: Any, base: Space) -> Definition:
    forms = "{value: ...} or {choices: [...]}" + (" or {low: ..., high: ...}" if key in BOUNDS else "")
    if not isinstance(content, dict) or not content:
        raise SpaceError(f"{key}: expected {forms}, got {_kind(content)}: {_short(content)}.")
    known = ("value", "choices", *(("low", "high", "log", "step") if key in BOUNDS else ()))
    for inner in content:
        if inner not in known:
            raise SpaceError(f"{key}: {_unknown_key(inner, known)}")
    if len(content) > 1 and {"value", "choices"} & set(content):
        raise SpaceError(f"{key}: expected only one of {forms}, got {_short(content)}.")
    if "value" in content:
        return Fixed(_value(key, content["value"]))
    if "choices" in content:
        choices = content["choices"]
        if not isinstance(choices, list) or not choices:
            raise SpaceError(f"{key}: choices is a list such as {_example(key)}, got {_short(choices)}.")
        return Choices(tuple(_value(key, value) for value in choices))
    return _range(key, content, base)


def _range(key: str, content: Mapping[str, Any], base: Space) -> Range:
    """What the file leaves out comes from the preset's range, or from the default space's where the preset has none."""
    model = next((d for d in (base.definitions[key], DEFAULT.definitions[key]) if isinstance(d, Range)), None)
    if model is None and not {"low", "high"} <= set(content):
        raise SpaceError(f"{key}: expected both low and high, got {_short(dict(content))}.")
    low = _value(key, content["low"] if "low" in content else model and model.low)
    high = _value(key, content["high"] if "high" in content else model and model.high)
    log = content.get("log", model.log if model else False)
    if not isinstance(log, bool):
        raise SpaceError(f"{key}: log is true or false, got {_short(log)}.")
    if "step" in content:
        return Range(float(low), float(high), log, _number(content["step"]))
    wanted = Range(float(low), float(high), log, None if log or model is None else model.step)
    # The preset's grid is a convenience: where it doesn't fit the user's ends, the range is continuous.
    return wanted if wanted.high in wanted and wanted.low < wanted.high else Range(wanted.low, wanted.high, log)


def _configuration(content: Any) -> Configuration:
    if isinstance(content, dict) and isinstance(content.get("configuration"), dict):
        content = content["configuration"].get("sampled")  # a best_config.yaml
    if not isinstance(content, dict):
        raise ConfigurationFileError(
            f"a configuration is a mapping such as 'depth: 3', got {_kind(content)}: {_short(content)}."
        )
    for key in content:
        if key not in FIELDS:
            raise ConfigurationFileError(_unknown_key(key, FIELDS))
    if missing := [name for name in REQUIRED if name not in content]:
        raise ConfigurationFileError(f"{missing[0]}: missing. A configuration gives {', '.join(REQUIRED)}.")
    values: dict[str, Any] = {key: _value(key, value) for key, value in content.items()}
    return Configuration(**values)


def _value(key: str, value: Any) -> Value:
    """The value as the field keeps it; the error begins with the key."""
    try:
        return checked(key, _number(value) if key in BOUNDS else value)
    except ConfigurationError as error:
        near = _closest(value, CHOICES[key]) if key in CHOICES else ""
        raise SpaceError(f"{key}: {str(error).removeprefix(f'{key} ').rstrip('.')}{near}.") from None


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _unknown_key(key: Any, known: Collection[str]) -> str:
    return f"unknown key {_short(key)}{_closest(key, known)}; known are {', '.join(known)}."


def _closest(word: Any, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _example(key: str) -> str:
    return f"[{', '.join(CHOICES[key][:2])}]" if key in CHOICES else "[1, 2]" if key in BOUNDS else "[false, true]"


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
