"""Reader of `best_config.yaml`, which holds all that is needed to train the recommended configuration again.

The file may come from anyone and may have been edited, so every value that training uses is checked, and errors name
its key. Values that only describe the search (promise, baselines, versions, ...) are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from spaces.config import Configuration, ConfigurationError
from spaces.definitions import SpaceError
from spaces.image_format import ImageFormat
from spaces.plain_yaml import PlainYamlError, kind, read, short, unknown_key
from spaces.yaml_io import ConfigurationFileError, configuration_of

SCHEMA: Final = 1
"""Version of the file's format: raised when an older reader would misunderstand it."""

KEYS: Final = (
    "schema",
    "configuration",
    "training",
    "images",
    "classes",
    "decision_offset",
    "metric",
    "folds",
    "fold_scores",
    "promise",
    "confirmed",
    "search_mean",
    "se",
    "chance",
    "baselines",
    "test",
    "data",
    "versions",
    "device",
    "seed",
    "command",
)
"""Keys that are allowed at the file's top level."""

_USED: Final = ("schema", "configuration", "training", "classes", "decision_offset", "metric", "folds", "seed", "data")
_CONFIGURATION: Final = ("canonical", "sampled", "hash")
_TRAINING: Final = ("epochs", "image_size", "channels", "classes", "precision", "engine")
_PRECISIONS: Final = ("float32", "mixed_bfloat16")
_LARGEST_OFFSET: Final = 50.0  # of a logit: more would decide alone
_MOST: Final = 2**31 - 1
_MOST_SHAPES: Final = 64
_MOST_WHITE: Final = 2.0**64
_WRITE_AGAIN: Final = "Use the file as the search wrote it; 'run_search.py report --out RUN' writes it again"
_ADVICE: Final = "Correct it, or use the file as the search wrote it"


@dataclass(frozen=True, kw_only=True, slots=True)
class BestConfig:
    """Checked content of a `best_config.yaml`."""

    configuration: Configuration
    edited: bool  # whether the configuration was edited, so that the file's scores are those of another one
    epochs: int  # epochs of the final training
    images: ImageFormat
    precision: str  # "float32" or "mixed_bfloat16"
    engine: int  # version of the training engine
    weights: str | None  # digest of the backbone's initial weights, "random" for random ones; None without a backbone
    classes: tuple[str, ...]  # class names in the order of the network's outputs
    offset: tuple[float, ...]  # (K,) decision offset, added to the logits
    metric: str
    folds: int  # number of folds in the search
    seed: int  # root seed of the search
    fingerprint: str  # fingerprint of the search's images
    named_by: ImageFormat  # format of the search's images, of which their fingerprint is made
    groups: int | None  # number of groups of images that the search kept together; None without groups
    content: Mapping[str, Any]  # the whole file


def load_best_config(path: Path) -> BestConfig:
    """Read and check a `best_config.yaml`.

    Raises:
        ConfigurationFileError: the file does not exist, or a value can't be used. The message is one line that names
            file, key, the value, what was expected and what to do.
    """
    try:
        return _best_config(read(path))
    except (SpaceError, ConfigurationError, PlainYamlError) as error:
        raise ConfigurationFileError(f"{path}: {error}") from None


def _best_config(content: Any) -> BestConfig:
    if not isinstance(content, dict):
        raise _wrong("", f"expected the mapping that a search writes as best_config.yaml, got {_got(content)}")
    if "schema" not in content:
        raise _wrong("schema", "missing, so this is not a best_config.yaml", "Pass the best_config.yaml of a search")
    if content["schema"] != SCHEMA or isinstance(content["schema"], bool):
        raise _wrong(
            "schema",
            f"this version reads {SCHEMA}, got {short(content['schema'])}",
            "Use the version of Steadynet that wrote the file, or search again",
        )
    _check_keys("", content, KEYS, _USED)
    training, data = _mapping(content, "training"), _mapping(content, "data")
    _check_keys("training", training, (*_TRAINING, "shapes", "weights", "white"), _TRAINING)
    _check_keys("data", data, ("folder", "fingerprint", "images", "groups", "image_size", "shapes"), ("fingerprint",))
    classes = _classes(content["classes"])
    if training["classes"] != len(classes):
        raise _wrong(
            "training.classes",
            f"expected {len(classes)}, the number of names under classes, got {_got(training['classes'])}",
        )
    if training["precision"] not in _PRECISIONS:
        raise _wrong(
            "training.precision", f"expected one of {', '.join(_PRECISIONS)}, got {_got(training['precision'])}"
        )
    channels = _whole("training.channels", training["channels"], 1, 3)
    if channels == 2:
        raise _wrong("training.channels", "expected 1 (grey) or 3 (colour), got 2")
    configuration, edited = _configuration(_mapping(content, "configuration"))
    images = ImageFormat(
        image_size=_whole("training.image_size", training["image_size"], 8, 1024),
        channels=channels,
        shapes=_shapes(training.get("shapes", [])),
        white=_white(training.get("white")),
    )
    named_by = images
    if "image_size" in data:
        side = _whole("data.image_size", data["image_size"], 8, 1024)
        named_by = replace(images, image_size=side, shapes=_shapes(data.get("shapes", [])))
    return BestConfig(
        configuration=configuration,
        edited=edited,
        epochs=_whole("training.epochs", training["epochs"], 1, 100_000),
        images=images,
        precision=str(training["precision"]),
        engine=_whole("training.engine", training["engine"], 1, _MOST),
        weights=None if "weights" not in training else _text("training.weights", training["weights"]),
        classes=classes,
        offset=_offset(content["decision_offset"], len(classes)),
        metric=_text("metric", content["metric"]),
        folds=_whole("folds", content["folds"], 2, _MOST),
        seed=_whole("seed", content["seed"], 0, _MOST),
        fingerprint=_text("data.fingerprint", data["fingerprint"]),
        named_by=named_by,
        groups=None if data.get("groups") is None else _whole("data.groups", data["groups"], 1, _MOST),
        content=content,
    )


def _configuration(section: Mapping[str, Any]) -> tuple[Configuration, bool]:
    """The configuration, and whether it was changed since the search.

    It stands in the file twice: a change in one place only would train something else than it shows.
    """
    _check_keys("configuration", section, _CONFIGURATION, ("sampled",))
    try:
        configuration = configuration_of({"configuration": section})
    except (SpaceError, ConfigurationError) as error:
        raise _wrong("configuration.sampled", str(error).rstrip(".")) from None
    canonical = configuration.canonical()
    in_file = section.get("canonical", canonical)
    if not isinstance(in_file, dict):
        raise _wrong("configuration.canonical", f"expected a mapping, got {_got(in_file)}")
    for key in (*canonical, *in_file):
        if in_file.get(key) != canonical.get(key):
            raise _wrong(
                f"configuration.canonical.{key}",
                f"got {_got(in_file.get(key))}, but configuration.sampled gives {_got(canonical.get(key))}",
                "Change both, or remove configuration.canonical",
            )
    return configuration, section.get("hash", configuration.hash) != configuration.hash


def _classes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) < 2:
        raise _wrong("classes", f"expected a list of at least two names, got {_got(value)}")
    for name in value:
        if not isinstance(name, str) or not name:
            raise _wrong("classes", f"expected names as text, got {_got(name)}", "Put the name in quotes")
        if value.count(name) > 1:
            raise _wrong("classes", f"got {name!r} twice", "Remove one of them")
    return tuple(value)


def _white(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MOST_WHITE:
        raise _wrong("training.white", f"expected a number above 0, got {_got(value)}")
    return float(value)


def _shapes(value: Any) -> tuple[tuple[int, int], ...]:
    wrong = _wrong("training.shapes", f"expected a list of pairs [height, width], got {_got(value)}")
    if not isinstance(value, list) or len(value) > _MOST_SHAPES:
        raise wrong
    for shape in value:
        if not isinstance(shape, list) or len(shape) != 2:
            raise wrong
    return tuple(
        (_whole("training.shapes", height, 8, 1024), _whole("training.shapes", width, 8, 1024))
        for height, width in value
    )


def _offset(value: Any, classes: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != classes:
        raise _wrong("decision_offset", f"expected a list of {classes} numbers, one per class, got {_got(value)}")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= _LARGEST_OFFSET:
            raise _wrong(
                "decision_offset",
                f"expected numbers between {-_LARGEST_OFFSET:g} and {_LARGEST_OFFSET:g}, got {_got(number)}",
            )
    return tuple(float(number) for number in value)


def _check_keys(where: str, section: Mapping[Any, Any], allowed: tuple[str, ...], required: tuple[str, ...]) -> None:
    for key in section:
        if key not in allowed:
            raise _wrong(where, unknown_key(key, allowed).rstrip("."), "Remove it")
    for key in required:
        if key not in section:
            raise _wrong(f"{where}.{key}".lstrip("."), "missing", _WRITE_AGAIN)


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content[key]
    if not isinstance(value, dict):
        raise _wrong(key, f"expected a mapping, got {_got(value)}")
    return value


def _whole(key: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        bounds = f"from {least} to {most:,}" if most < _MOST else f"of at least {least}"
        raise _wrong(key, f"expected a whole number {bounds}, got {_got(value)}")
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(key, f"expected text, got {_got(value)}")
    return value


def _got(value: Any) -> str:
    return "nothing" if value is None else f"{kind(value)}: {short(value)}"


def _wrong(key: str, text: str, advice: str = _ADVICE) -> ConfigurationFileError:
    return ConfigurationFileError(f"{key}: {text}. {advice}." if key else f"{text}. {advice}.")
