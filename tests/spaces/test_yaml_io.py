"""What users write in YAML is understood, or refused in one line that says where and why."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.config import Configuration
from spaces.definitions import Choices, Fixed, Range, SpaceError
from spaces.presets import CORE, DEFAULT
from spaces.yaml_io import ConfigurationFileError, load_configurations, load_space

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_presets_have_names() -> None:
    assert load_space("core") is CORE
    assert load_space("default") is DEFAULT


def test_the_example_space_loads() -> None:
    space = load_space(str(EXAMPLES / "my_space.yaml"))
    assert space.name == "my_space"
    assert space.definitions["learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert space.definitions["initializer"] == Choices(("glorot_uniform", "he_normal", "random_uniform"))
    assert space.definitions["rotation"] == Fixed(0.0)
    assert space.definitions["width"] == DEFAULT.definitions["width"]


def test_the_example_configurations_load_and_lie_in_the_default_space() -> None:
    found = load_configurations(EXAMPLES / "start.yaml")
    assert [configuration.learning_rate for configuration in found] == [1e-3, 5e-4]
    assert all(configuration in DEFAULT for configuration in found)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "preset: default\n", "{}\n"])
def test_an_empty_file_is_the_default(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_space(str(file)).hash == DEFAULT.hash


@pytest.mark.parametrize(
    ("text", "key", "definition"),
    [
        ("batch_size: {choices: [1, 2]}", "batch_size", Choices((1, 2))),
        ("dropout: {low: 0.0, high: 0.9}", "dropout", Range(0.0, 0.9)),
        ("learning_rate: {high: 1e-2}", "learning_rate", Range(1e-5, 1e-2, log=True)),
        ("learning_rate: {low: 0.001, high: 0.01, log: false}", "learning_rate", Range(0.001, 0.01)),
        ("{preset: core, weight_decay: {low: 1e-5, high: 1e-3}}", "weight_decay", Range(1e-5, 1e-3, log=True)),
        ("shift: {low: 0, high: 0.1}", "shift", Range(0.0, 0.1, step=0.05)),
        ("shift: {low: 0, high: 0.12}", "shift", Range(0.0, 0.12)),
        ("shift: {low: 0, high: 0.12, step: 0.04}", "shift", Range(0.0, 0.12, step=0.04)),
        ("class_weighting: {value: none}", "class_weighting", Fixed("none")),
        ("horizontal_flip: {choices: [yes]}", "horizontal_flip", Fixed(True)),
        ("width: {low: 8, high: 64}", "width", Range(8, 64)),
        ("learning_rate: {value: 1E-3}", "learning_rate", Fixed(0.001)),
    ],
)
def test_a_space_file_restricts_fixes_and_widens(file: Path, text: str, key: str, definition: object) -> None:
    file.write_text(text)
    assert load_space(str(file)).definitions[key] == definition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropuot: {value: 0.1}", "unknown key 'dropuot' (did you mean 'dropout'?). Expected one of preset, depth"),
        ("dropout: {value: lots}", "dropout: must be a number, got 'lots'"),
        ("dropout: {value: '0.1'}", "dropout: must be a number, got '0.1'"),
        ("dropout: {value: .nan}", "dropout: must lie between 0 and 0.9, got nan"),
        ("depth: {value: .inf}", "depth: must lie between 1 and 12, got inf"),
        ("depth: {value: 2.5}", "depth: must be a whole number, got 2.5"),
        (
            "dropout: [0, 0.5]",
            "dropout: expected {value: ...} or {choices: [...]} or {low: ..., high: ...}, got a list",
        ),
        ("batch_size: 16", "batch_size: expected {value: ...}"),
        ("dropout: {}", "dropout: expected {value: ...}"),
        ("dropout:", "dropout: expected {value: ...} or {choices: [...]} or {low: ..., high: ...}, got nothing"),
        ("dropout: {low: 0.5, high: 0.1}", "dropout: low 0.5 is above high 0.1"),
        ("dropout: {low: 0.1, hihg: 0.5}", "dropout: unknown key 'hihg' (did you mean 'high'?)"),
        ("dropout: {low: 0.1, log: 3}", "dropout: log must be true or false, got 3"),
        ("dropout: {value: 0.1, high: 0.5}", "dropout: expected only one of"),
        ("weight_decay: {low: 0, high: 0.1}", "weight_decay: log: true needs low > 0, got 0"),
        ("initializer: {choices: [he_norml]}", "initializer: must be one of glorot_uniform, glorot_normal, he_normal"),
        ("initializer: {choices: [he_norml]}", "got 'he_norml' (did you mean 'he_normal'?)."),
        ("initializer: {low: 1, high: 2}", "initializer: unknown key 'low'"),
        (
            "initializer: {choices: he_normal}",
            "choices must be a list such as [glorot_uniform, glorot_normal], got 'he_normal'",
        ),
        (
            "class_weighting: {value: null}",
            "class_weighting: must be one of none, sqrt, balanced, effective_number, got None",
        ),
        ("width: {low: 8}", "width: expected both low and high, got {'low': 8}"),
        ("dropout: {low: 0, high: 0.95}", "dropout: must lie between 0 and 0.9, got 0.95"),
        ("batch_size: {choices: [0]}", "batch_size: must lie between 1 and 4096, got 0"),
        (
            "preset: cor",
            "preset: unknown preset 'cor' (did you mean 'core'?). Expected one of core, default",
        ),
        ("preset: [core]", "preset: unknown preset ['core']"),
        ("preset: nightly", "unknown preset 'nightly'. Expected one of core, default, transfer."),
        ("- depth", "expected a mapping of hyperparameters, got a list: ['depth']"),
        ("just words", "expected a mapping of hyperparameters, got text"),
        ("depth: {value: 1}\ndepth: {value: 2}", "depth: given a second time in line 2"),
        ("depth: {value: 1, value: 2}", "value: given a second time in line 1"),
        (
            "depth: !!python/object/apply:os.system ['exit']",
            "python/object/apply:os.system', line 1. Only plain values",
        ),
        ("depth: {value: 1", "is not YAML:"),
        ("depth: *nothing", "line 1 uses an alias (*nothing). Write the value out instead."),
        ("? [a, b]\n: 1", "unhashable key, line 1"),
        ("depth: 2020-13-45", "is not YAML: month must be in 1..12"),
        ("1: 2", "unknown key 1"),
        ("depth: \x07", "is not YAML:"),
    ],
)
def test_a_bad_space_file_is_refused_in_one_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(SpaceError) as caught:
        load_space(str(file))
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_can_run_code(file: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    file.write_text(f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{trap}']]")
    with pytest.raises(SpaceError, match="Only plain values are read"):
        load_space(str(file))
    assert not trap.exists()


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(
        SpaceError,
        match=r"unknown space 'defualt' \(did you mean 'default'\?\)\. Expected one of core, default",
    ):
        load_space("defualt")
    with pytest.raises(
        SpaceError,
        match=r"unknown space 'nightly'\. Expected one of core, default, transfer, or the path of a YAML",
    ):
        load_space("nightly")
    with pytest.raises(SpaceError, match=r"no\.yaml: no such file"):
        load_space(str(tmp_path / "no.yaml"))
    with pytest.raises(SpaceError, match="can't be read: Is a directory"):
        load_space(str(tmp_path))
    (tmp_path / "image.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(SpaceError, match="is not a text file in UTF-8"):
        load_space(str(tmp_path / "image.yaml"))


@settings(max_examples=10)
@given(name=st.sampled_from(["core", "default"]), batches=st.sets(st.sampled_from([4, 8, 16]), min_size=1))
def test_a_space_comes_back_from_its_own_yaml(
    tmp_path_factory: pytest.TempPathFactory, name: str, batches: set[int]
) -> None:
    space = load_space(name).changed({"batch_size": Choices(tuple(batches))}, name="again")
    path = tmp_path_factory.mktemp("space") / "again.yaml"
    path.write_text(yaml.safe_dump(space.as_dict()))
    assert load_space(str(path)) == space
    assert load_space(str(path)).hash == space.hash


configurations = st.builds(
    Configuration,
    depth=st.integers(2, 12),
    dense_ratio=st.floats(0.5, 1.0),
    initializer=st.sampled_from(["he_normal", "orthogonal"]),
    dropout=st.floats(0.0, 0.9),
    class_weighting=st.sampled_from(["none", "sqrt"]),
    oversampling=st.sampled_from(["none", "balanced"]),
    batch_size=st.sampled_from([1, 2, 64]),
    learning_rate=st.floats(1e-8, 10.0),
    weight_decay=st.floats(0.0, 1.0),
    horizontal_flip=st.booleans(),
)


@settings(max_examples=10)
@given(wanted=st.lists(configurations, min_size=1, max_size=3))
def test_configurations_come_back_from_yaml(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[Configuration]
) -> None:
    path = tmp_path_factory.mktemp("configurations") / "list.yaml"
    path.write_text(yaml.safe_dump([configuration.as_dict() for configuration in wanted]))
    assert load_configurations(path) == wanted
    path.write_text(yaml.safe_dump(wanted[0].as_dict()))
    assert load_configurations(path) == wanted[:1]
    kept = {"schema": 1, "configuration": {"sampled": wanted[0].as_dict(), "canonical": wanted[0].canonical()}}
    path.write_text(yaml.safe_dump(kept))
    assert [configuration.hash for configuration in load_configurations(path)] == [wanted[0].hash]


PLAIN = "depth: 3\ndense_ratio: 0\ninitializer: he_normal\ndropout: 0\nclass_weighting: none\noversampling: none\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PLAIN,
            "batch_size: missing. A configuration must give depth, dense_ratio, initializer",
        ),
        (
            PLAIN + "batch_size: 8\nlearning_rate: 1e-3\n",
            "a network without dense layers needs a head that pools, such as 'average', got 'flatten'",
        ),
        (PLAIN + "batchsize: 8", "unknown key 'batchsize' .did you mean 'batch_size'"),
        (PLAIN + "batch_size: many", "learning_rate: missing"),
        (PLAIN + "batch_size: many\nlearning_rate: 1e-3", "batch_size: must be a number, got 'many'"),
        ("[]", "got an empty list"),
        ("", "expected a configuration as a mapping such as 'depth: 3', got nothing"),
        ("- {depth: 3}\n- 7", "configuration 1: dense_ratio: missing"),
        ("configuration: {sampled: 3}", "expected a configuration as a mapping .* got a number: 3"),
        ("configuration: {canonical: {}}", "expected a configuration as a mapping .* got nothing"),
    ],
)
def test_a_bad_file_of_configurations_is_refused(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationFileError, match=message) as caught:
        load_configurations(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)
