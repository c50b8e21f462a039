"""A `best_config.yaml` is understood, or refused in one line that names the key, what came and what to do."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from spaces.best_config import load_best_config
from spaces.image_format import ImageFormat
from spaces.yaml_io import ConfigurationFileError
from tests.factories import configuration
from tests.search.delivery.stand_in import write_config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "best_config.yaml"


def test_all_that_training_needs_comes_back(path) -> None:
    found = load_best_config(write_config(path))
    assert found.configuration == configuration(batch_size=4)
    assert not found.edited
    assert (found.epochs, found.precision, found.engine) == (5, "float32", 1)
    assert found.images == ImageFormat(image_size=8, channels=1)
    assert (found.classes, found.offset) == (("bolt", "nut"), (0.5, -0.5))
    assert (found.metric, found.folds, found.seed) == ("balanced_accuracy", 3, 7)
    assert (found.fingerprint, found.groups) == ("0" * 16, None)
    assert found.content["promise"] == {"value": 0.8}


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"schema": 2},
        "schema: this version reads 1, got 2. Use the version of Steadynet that wrote",
    ),
    ({"schema": True}, "schema: this version reads 1, got True."),
    ({"epoch": 3}, "unknown key 'epoch'. Expected one of schema, configuration"),
    ({"training__epoch": 3}, "training: unknown key 'epoch' (did you mean 'epochs'?). Expected one of"),
    (
        {"training__epochs": 0},
        "training.epochs: expected a whole number from 1 to 100,000, got a number: 0. Correct it",
    ),
    ({"training__epochs": 2.5}, "training.epochs: expected a whole number from 1 to 100,000, got a number: 2.5."),
    (
        {"training__epochs": True},
        "training.epochs: expected a whole number from 1 to 100,000, got true/false: True.",
    ),
    ({"training__image_size": 4096}, "training.image_size: expected a whole number from 8 to 1,024, got a number"),
    ({"training__channels": 2}, "training.channels: expected 1 (grey) or 3 (colour), got 2."),
    ({"training__white": 0}, "training.white: expected a number above 0, got a number: 0."),
    ({"training__white": "bright"}, "training.white: expected a number above 0, got text: 'bright'."),
    ({"training__precision": "float16"}, "training.precision: expected one of float32, mixed_bfloat16, got text"),
    ({"training__precision": ["a"]}, "training.precision: expected one of float32, mixed_bfloat16, got a list"),
    ({"training__classes": 3}, "training.classes: expected 2, the number of names under classes, got a number: 3."),
    ({"training": [1]}, "training: expected a mapping, got a list: [1]."),
    ({"classes": ["bolt"]}, "classes: expected a list of at least two names, got a list: ['bolt']."),
    ({"classes": ["bolt", 1]}, "classes: expected names as text, got a number: 1. Put the name in quotes."),
    ({"classes": ["bolt", "bolt"]}, "classes: got 'bolt' twice. Remove one of them."),
    ({"decision_offset": [0.0]}, "decision_offset: expected a list of 2 numbers, one per class, got a list: [0.0]."),
    ({"decision_offset": [0.0, "x"]}, "decision_offset: expected numbers between -50 and 50, got text: 'x'."),
    (
        {"decision_offset": [0.0, float("nan")]},
        "decision_offset: expected numbers between -50 and 50, got a number",
    ),
    ({"decision_offset": [0.0, 1e9]}, "decision_offset: expected numbers between -50 and 50, got a number"),
    ({"metric": 3}, "metric: expected text, got a number: 3."),
    ({"folds": 1}, "folds: expected a whole number of at least 2, got a number: 1."),
    ({"seed": -1}, "seed: expected a whole number of at least 0, got a number: -1."),
    ({"data": None}, "data: expected a mapping, got nothing."),
    ({"configuration__sampled__dropout": 2}, "configuration.sampled: dropout: must lie between 0 and 0.9, got 2."),
    ({"configuration__sampled__drop": 0.1}, "configuration.sampled: unknown key 'drop' (did you mean 'dropout'?)"),
    ({"configuration__more": 1}, "configuration: unknown key 'more'. Expected one of canonical, sampled, hash."),
    (
        {"configuration__canonical__learning_rate": 0.1},
        "configuration.canonical.learning_rate: got a number: 0.1, but configuration.sampled gives a number: "
        "0.001. Change both, or remove configuration.canonical.",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_a_bad_value_is_refused_in_one_line(path, changes, message) -> None:
    write_config(path, **changes)
    with pytest.raises(ConfigurationFileError) as caught:
        load_best_config(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["schema", "configuration", "training", "classes", "decision_offset", "folds", "data"])
def test_what_is_missing_is_named(path, key) -> None:
    content = yaml.safe_load(write_config(path).read_text())
    del content[key]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationFileError, match=rf"best_config\.yaml: {key}: missing"):
        load_best_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the mapping that a search writes as best_config.yaml, got nothing."),
        ("depth: 3", "schema: missing, so this is not a best_config.yaml. Pass the best_config.yaml of a search."),
        ("- 1", "expected the mapping that a search writes as best_config.yaml, got a list: [1]."),
        ("a: &x [1]\nb: *x", "line 2 uses an alias (*x). Write the value out instead."),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: 1\na: 2", "a: given a second time in line 2. Remove one of them."),
        ("[" * 1000, "is not YAML"),
        ("a: " + "x" * 2_000_000, "has 2,000,003 bytes. Expected at most 1,000,000."),
    ],
)
def test_other_files_are_refused(path, text, message) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationFileError) as caught:
        load_best_config(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_aliases_that_would_fill_the_memory_are_refused_at_once(path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationFileError, match=r"line 2 uses an alias \(\*a0\)"):
        load_best_config(path)


def test_no_file_and_no_text_are_told(path, tmp_path) -> None:
    with pytest.raises(ConfigurationFileError, match=r"best_config\.yaml: no such file"):
        load_best_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationFileError, match="is not a text file in UTF-8"):
        load_best_config(path)
    with pytest.raises(ConfigurationFileError, match="can't be read: Is a directory"):
        load_best_config(tmp_path)


def test_a_change_in_both_places_is_taken_and_seen(path) -> None:
    changed = configuration(batch_size=4, learning_rate=0.5)
    both = {"configuration__sampled": changed.as_dict(), "configuration__canonical": changed.canonical()}
    found = load_best_config(write_config(path, **both))
    assert found.configuration == changed
    assert found.edited


def test_what_only_tells_of_the_search_may_be_anything(path) -> None:
    found = load_best_config(write_config(path, promise="great", baselines=[1], versions=None, data__groups=4))
    assert found.groups == 4
    assert found.content["promise"] == "great"
