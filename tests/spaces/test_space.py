"""A space gives valid configurations, only what is in it, and takes back what it gave."""

import dataclasses
import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from spaces.backbones import BACKBONES
from spaces.config import BOUNDS, BY_RATIO, CHOICES, FIELDS, Configuration
from spaces.definitions import Choices, Definition, Fixed, Range, SpaceError
from spaces.losses import ADJUSTED, LOSSES
from spaces.presets import CORE, DEFAULT, KNOWN_GOOD, PRESETS, TRANSFER, known_good, with_weights
from spaces.space import MIN_UPDATES, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)


def draw(space: Space, seed: int, count: int = 1) -> list[tuple[Configuration, dict[str, Any]]]:
    """Configurations as a random study draws them, with what the trials hold."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append((space.sample(trial), dict(trial.params)))
        study.tell(trial, 0.0)
    return drawn


numeric = st.sampled_from(
    [name for name in BOUNDS if name not in ("batch_size", "width", "dense_units", "kernel_size", "resolution")]
)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """A preset with some definitions replaced by a user's own."""
    changed: dict[str, Definition] = {}
    for name in draw(st.sets(numeric, max_size=4)):
        low, high = BOUNDS[name]
        ends = st.integers(int(low), int(high)) if FIELDS[name] == "int" else st.floats(low, high)
        changed[name] = Range(*sorted(draw(st.tuples(ends, ends))))
    for name in draw(st.sets(st.sampled_from(sorted(CHOICES)), max_size=4)):
        always = {"cross_entropy"} if name == "loss" else set()  # a space must offer a loss that goes with any weights
        changed[name] = Choices(tuple(always | draw(st.sets(st.sampled_from(CHOICES[name]), min_size=1))))
    batches = draw(st.sets(st.sampled_from([4, 8, 16]), min_size=1)) | draw(st.sets(st.sampled_from([1, 2])))
    changed["batch_size"] = Choices(tuple(batches))
    preset = draw(st.sampled_from(list(PRESETS.values())))
    try:
        return preset.changed(changed)
    except SpaceError:  # such as two corrections for rare classes at once
        reject()


@settings(max_examples=20)
@given(space=spaces(), seed=st.integers(0, 10_000))
def test_samples_lie_inside_and_come_back_from_their_parameters(space: Space, seed: int) -> None:
    for configuration, params in draw(space, seed, count=3):
        assert configuration in space
        parameters = space.parameters(configuration)
        assert parameters == params
        assert space.sample(optuna.trial.FixedTrial(parameters)) == configuration
        for name, value in configuration.canonical().items():
            fallback = (name, value) in {("head", "average"), ("normalization", "none"), ("statistics", "kept")}
            assert name in ("n_conv", "n_dense") or fallback or value in space.definitions[name]


def test_a_study_takes_enqueued_parameters_without_complaint() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for configuration in KNOWN_GOOD:
            study.enqueue_trial(DEFAULT.parameters(configuration))
    for configuration in KNOWN_GOOD:
        assert DEFAULT.sample(study.ask()).hash == configuration.hash


@pytest.mark.parametrize(
    ("fixed", "present", "absent"),
    [
        ({"dense_ratio": 1.0}, {"dense_units"}, {"width", "kernel_size", "head", "pooling"}),
        ({"dense_ratio": 0.0}, {"width", "kernel_size", "pooling"}, {"dense_units", "head"}),
        ({"dense_ratio": 0.5, "depth": 4}, {"width", "kernel_size", "head", "dense_units"}, {"pooling"}),
        ({"optimizer": "adam"}, set(), {"weight_decay"}),
        ({"optimizer": "adamw"}, {"weight_decay"}, set()),
        ({"optimizer": "sgd"}, {"weight_decay"}, set()),
        ({"batch_size": 2}, {"normalization_small_batch"}, {"normalization"}),
        ({"batch_size": 4}, {"normalization"}, {"normalization_small_batch"}),
        ({"loss": "cross_entropy"}, {"oversampling", "label_smoothing"}, set()),
        ({"loss": "focal"}, {"oversampling"}, {"label_smoothing"}),
        ({"loss": "logit_adjusted"}, {"label_smoothing"}, {"class_weighting", "oversampling"}),
        ({"oversampling": "balanced"}, set(), {"class_weighting"}),
        ({"oversampling": "sqrt"}, {"class_weighting"}, set()),
        ({"backbone": "none"}, {"input_scaling", "shift"}, {"trainable", "statistics", "backbone_rate"}),
        (
            {"backbone": "resnet50", "trainable": "frozen", "statistics": "kept"},
            {"backbone_pooling_last", "horizontal_flip"},
            {"shift", "zoom", "shear", "rotation", "backbone_rate", "width", "kernel_size", "input_scaling"},
        ),
        ({"backbone": "resnet50", "trainable": "frozen", "statistics": "adapted", "batch_size": 8}, {"shift"}, set()),
        ({"backbone": "resnet50", "trainable": "all", "batch_size": 2}, {"statistics_small_batch"}, {"statistics"}),
        ({"backbone": "resnet50", "trainable": "all", "batch_size": 4}, {"statistics", "backbone_rate"}, set()),
        ({"backbone": "convnext_tiny", "trainable": "all"}, {"backbone_rate", "shift"}, {"statistics"}),
        ({"backbone": "resnet50", "dense_ratio": 0.0}, set(), {"normalization", "activation", "dense_units"}),
        ({"backbone": "resnet50", "dense_ratio": 1.0}, {"activation", "dense_units"}, set()),
        ({"backbone": "mobilenet_v2"}, {"backbone_pooling", "resolution"}, {"backbone_pooling_last"}),
        (
            {"backbone": "mobilenet_v2", "classifier": "ridge"},
            {"backbone_pooling", "resolution", "class_weighting"},
            {"learning_rate", "batch_size", "depth", "dropout", "initializer", "horizontal_flip", "trainable"},
        ),
    ],
)
def test_parameters_are_only_searched_where_they_mean_something(
    fixed: dict[str, Any], present: set[str], absent: set[str]
) -> None:
    fixed = {"classifier": "layers", **fixed}
    space = with_weights(DEFAULT, tuple(BACKBONES)).changed({name: Fixed(value) for name, value in fixed.items()})
    space = space if "backbone" in fixed else space.changed({"backbone": Fixed("none")})
    for _, params in draw(space, seed=1, count=5):
        assert present <= set(params)
        assert not absent & set(params)


@pytest.mark.parametrize("fixed", [{"class_weighting": "balanced"}, {"oversampling": "sqrt"}])
def test_what_is_always_weighted_or_drawn_by_shares_is_not_adjusted_as_well(fixed: dict[str, Any]) -> None:
    space = DEFAULT.changed({name: Fixed(value) for name, value in fixed.items()})
    assert space.definitions["loss"] == Choices(tuple(name for name in LOSSES if name not in ADJUSTED))


def test_core_searches_the_seven_and_the_learning_rate() -> None:
    searched = {name for name, definition in CORE.definitions.items() if not isinstance(definition, Fixed)}
    seven = {"depth", "dense_ratio", "initializer", "dropout", "class_weighting", "oversampling", "batch_size"}
    assert searched == seven | {"learning_rate"}
    assert CORE.definitions["batch_size"] == Choices((2, 4, 8, 16, 32, 64, 128, 256))


def test_default_searches_everything() -> None:
    fixed = {name for name, definition in DEFAULT.definitions.items() if isinstance(definition, Fixed)}
    assert fixed == {"backbone", "trainable", "statistics", "backbone_rate", "resolution", "classifier"}
    assert not [one for one in with_weights(DEFAULT, ["resnet50"]).definitions.values() if isinstance(one, Fixed)]


def test_only_backbones_that_there_are_weights_of_are_searched() -> None:
    assert with_weights(TRANSFER, ["resnet50", "mobilenet_v2"]).backbones == ("mobilenet_v2", "resnet50")
    assert with_weights(DEFAULT, ["resnet50"]).definitions["backbone"] == Choices(("none", "resnet50"))
    assert with_weights(CORE, ["resnet50"]) == CORE
    assert with_weights(DEFAULT, []) == DEFAULT
    with pytest.raises(SpaceError, match="there are no weights of mobilenet_025"):
        with_weights(TRANSFER, [])


def test_what_costs_least_is_tried_first_on_each_backbone() -> None:
    names = ["mobilenet_025", "mobilenet_v2", "resnet50"]
    first = known_good(with_weights(TRANSFER, names))
    solved = [one for one in first if one.is_closed_form]
    assert first[: len(solved)] == solved
    assert [one.backbone for one in solved if one.head == "average"] == 3 * names
    assert {one.backbone for one in solved if one.head != "average"} == {"mobilenet_v2"}  # whose middle is known
    layers = first[len(solved) :]
    assert [one.backbone for one in layers[:3]] == names
    assert all(one.embeds for one in layers[:3])
    assert {one.backbone for one in layers[3:]} == {"mobilenet_v2"}


def test_networks_from_scratch_and_on_backbones_take_turns() -> None:
    trained = [one for one in known_good(with_weights(DEFAULT, ["mobilenet_v2"])) if not one.is_closed_form]
    assert [one.family for one in trained[:8]] == 4 * ["scratch", "pretrained"]


def test_the_family_is_asked_for_first_and_decides_what_else_is_asked() -> None:
    space = with_weights(DEFAULT, ["mobilenet_025", "mobilenet_v2"])
    for configuration, params in draw(space, seed=0, count=40):
        assert next(iter(params.items())) == ("family", configuration.family)
        asked = {"learning_rate", "depth", "optimizer"} & set(params)
        assert len(asked) == (0 if configuration.is_closed_form else 3)
        assert ("width" in params) <= (configuration.family == "scratch")
        assert ("resolution" in params) == (configuration.family == "pretrained")
    assert not any("family" in params for one in (DEFAULT, CORE) for _, params in draw(one, seed=0, count=5))
    assert not any("family" in params for _, params in draw(TRANSFER.changed({"backbone": Fixed("mobilenet")}), 0, 5))


@pytest.mark.parametrize(("name", "value"), [("trainable", "last_block"), ("statistics", "re_estimated")])
def test_classifiers_that_are_solved_need_features_that_rest(name: str, value: str) -> None:
    definitions: dict[str, Definition] = {name: Fixed(value), "backbone": Fixed("mobilenet_v2")}
    space = TRANSFER.changed(definitions)
    assert space.definitions["classifier"] == Fixed("layers")
    assert not any(configuration.is_closed_form for configuration in known_good(space))
    with pytest.raises(SpaceError, match=f"classifier: 'ridge' .* allow '.*' for {name}, or 'layers' for classifier"):
        TRANSFER.changed({**definitions, "classifier": Fixed("ridge")})


def test_resolutions_are_listed_one_by_one() -> None:
    assert TRANSFER.changed({"resolution": Choices((224, 0, 96))}).resolutions == (96, 224)
    with pytest.raises(SpaceError, match="resolution: expected a value or choices, got a range"):
        TRANSFER.changed({"resolution": Range(96, 224)})


def test_backbones_stand_from_small_to_large() -> None:
    sizes = [known.weights for known in BACKBONES.values()]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("space", PRESETS.values(), ids=PRESETS)
def test_what_is_searched_by_its_logarithm_counts_by_ratio_everywhere(space: Space) -> None:
    by_logarithm = {name for name, one in space.definitions.items() if isinstance(one, Range) and one.log}
    assert by_logarithm <= BY_RATIO


def test_augmentation_is_often_off() -> None:
    drawn = [configuration for configuration, _ in draw(DEFAULT, seed=3, count=100)]
    for name in ("label_smoothing", "shift", "zoom", "shear", "rotation"):
        assert sum(getattr(configuration, name) == 0 for configuration in drawn) > 10


def test_a_pure_convnet_pools_by_average_where_only_flatten_is_allowed() -> None:
    space = CORE.changed({"head": Fixed("flatten"), "dense_ratio": Fixed(0.0)})
    assert draw(space, seed=0)[0][0].head == "average"


def test_only_batch_normalization_drops_batches_too_small_for_it() -> None:
    assert CORE.changed({"normalization": Fixed("batch")}).definitions["batch_size"] == Choices(
        (4, 8, 16, 32, 64, 128, 256)
    )
    stepped = CORE.changed({"normalization": Fixed("batch"), "batch_size": Range(1, 10, step=3)})
    assert stepped.definitions["batch_size"] == Range(4, 10, step=3)
    assert {configuration.batch_size for configuration in known_good(stepped)} == {7, 10}  # 8 is nearest to 7
    with pytest.raises(SpaceError, match="batch_size: normalization 'batch' alone needs 4 or more, got 2 at most"):
        CORE.changed({"normalization": Choices(("batch",)), "batch_size": Fixed(2)})


@pytest.mark.parametrize(
    ("images", "epochs", "offered"),
    [
        (10_000, 30, (2, 4, 8, 16, 32, 64, 128, 256)),
        (100, 60, (2, 4, 8, 16, 32, 64)),  # one update an epoch is enough
        (100, 12, (2, 4, 8, 16)),  # five updates an epoch: 100 // 16 = 6, 100 // 32 = 3
        (100, 1, (2,)),  # too few whatever the batch: the smallest stays
    ],
)
def test_batch_sizes_leave_enough_updates(images: int, epochs: int, offered: tuple[int, ...]) -> None:
    definition = CORE.bound_to(images, epochs).definitions["batch_size"]
    assert definition == (Choices(offered) if len(offered) > 1 else Fixed(offered[0]))


@given(images=st.integers(2, 5000), epochs=st.integers(1, 200))
def test_binding_agrees_with_counting_updates(images: int, epochs: int) -> None:
    wanted = [b for b in (2, 4, 8, 16, 32, 64, 128, 256) if b <= images and epochs * (images // b) >= MIN_UPDATES]
    definition = CORE.bound_to(images, epochs).definitions["batch_size"]
    values = definition.values if isinstance(definition, Choices) else (definition.value,)
    assert list(values) == (wanted or [2])


@pytest.mark.parametrize("other", ["class_weighting", "oversampling"])
def test_rare_classes_are_not_made_up_for_twice(other: str) -> None:
    always = {other: Fixed("balanced")}
    with pytest.raises(SpaceError, match=f"^loss: 'logit_adjusted' corrects for rare classes, and so does {other}"):
        CORE.changed(always | {"loss": Fixed("logit_adjusted")})
    both = CORE.changed(always | {"loss": Choices(("logit_adjusted", "cross_entropy"))})
    assert both.definitions["loss"] == Fixed("cross_entropy")


def test_a_range_of_batch_sizes_is_bound_too() -> None:
    space = CORE.changed({"batch_size": Range(2, 100, step=7)})
    assert space.bound_to(100, 30).definitions["batch_size"] == Range(2, 44, step=7)  # at most 100 // 2 = 50
    assert space.bound_to(100, 1).definitions["batch_size"] == Fixed(2)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (Fixed(64), r"batch_size: 64 leaves 12 updates a fit \(100 training images, 12 epochs\); .* Allow 20"),
        (Fixed(128), "batch_size: 128 is more than the 100 training images. Allow at most 100"),
        (Choices((128, 256)), "batch_size: 128 is more than the 100 training images"),
    ],
)
def test_an_impossible_batch_size_is_refused(definition: Definition, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        CORE.changed({"batch_size": definition}).bound_to(100, 12)


@pytest.mark.parametrize(
    ("name", "definition", "message"),
    [
        ("dropout", Range(0.5, 0.1), "dropout: low 0.5 is above high 0.1"),
        ("learning_rate", Range(0.1, 11), "learning_rate: .* between 1e-08 and 10, got 11"),
        ("weight_decay", Range(0.0, 0.1, log=True), "weight_decay: log: true needs low > 0, got 0"),
        ("shift", Range(0.0, 0.12, step=0.05), "shift: step 0.05 does not lead from low 0 to high 0.12"),
        ("shift", Range(0.0, 0.1, step=-0.05), "shift: step must be a number above 0, got -0.05"),
        ("depth", Range(1, 4, step=1.5), "depth: step must be a whole number, got 1.5"),
        ("learning_rate", Range(1e-3, 1e-1, log=True, step=1e-3), "log: true and a step exclude each other"),
        ("optimizer", Range(0, 1), "optimizer: got low and high, but it is not a number"),
        ("optimizer", Choices(()), "optimizer: got no choices"),
        ("optimizer", Choices(("adam", "lion")), "optimizer: .* one of adam, adamw, sgd, got 'lion'"),
        ("batch_size", Choices((8, 8.5)), "batch_size: .* whole number, got 8.5"),
        ("horizontal_flip", Fixed(1), "horizontal_flip: .* true or false, got 1"),
        ("dropuot", Fixed(1), "dropuot: missing or unknown. A space must define each field"),
    ],
)
def test_impossible_definitions_are_refused(name: str, definition: Definition, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        DEFAULT.changed({name: definition})


def test_a_configuration_outside_is_named_by_its_field() -> None:
    outside = dataclasses.replace(KNOWN_GOOD[0], learning_rate=0.5)
    assert outside not in CORE
    with pytest.raises(SpaceError, match=r"^learning_rate: expected 1e-05 to 0.1, as in the space, got 0.5\.$"):
        CORE.parameters(outside)
    with pytest.raises(SpaceError, match=r"^optimizer: expected 'adam', the only value in the space, got 'sgd'\.$"):
        CORE.parameters(dataclasses.replace(KNOWN_GOOD[0], optimizer="sgd"))
    with pytest.raises(SpaceError, match=r"shift: expected 0 to 0.2 in steps of 0.05, as in the space, got 0.07"):
        DEFAULT.parameters(dataclasses.replace(KNOWN_GOOD[0], shift=0.07))


def test_the_hash_is_of_what_is_searched() -> None:
    backwards = dict(reversed(list(DEFAULT.definitions.items())))
    assert Space("other", backwards).hash == DEFAULT.hash
    assert DEFAULT.changed({"optimizer": Choices(("sgd", "adam", "adamw"))}).hash == DEFAULT.hash
    assert DEFAULT.changed({"depth": Choices((3,))}).hash == DEFAULT.changed({"depth": Range(3, 3)}).hash
    assert DEFAULT.changed({"depth": Range(1, 11)}).hash != DEFAULT.hash
    assert CORE.hash != DEFAULT.hash
    assert len(CORE.hash) == 12


def test_known_good_configurations_lie_in_the_default_space_and_differ() -> None:
    assert all(configuration in DEFAULT for configuration in KNOWN_GOOD)
    assert [c.hash for c in known_good(DEFAULT)] == [c.hash for c in KNOWN_GOOD]
    assert len({configuration.hash for configuration in KNOWN_GOOD}) == len(KNOWN_GOOD) >= 6


@settings(max_examples=10)
@given(space=spaces())
def test_known_good_configurations_are_made_to_fit(space: Space) -> None:
    found = known_good(space)
    assert all(configuration in space for configuration in found)
    assert len({configuration.hash for configuration in found}) == len(found)


def test_known_good_configurations_take_what_the_user_fixes() -> None:
    space = DEFAULT.changed({"batch_size": Fixed(4), "optimizer": Fixed("adamw"), "width": Fixed(100)})
    found = known_good(space)
    assert len(found) == len(KNOWN_GOOD)
    assert {(c.batch_size, c.optimizer) for c in found} == {(4, "adamw")}
    assert {c.batch_size for c in known_good(DEFAULT.changed({"batch_size": Choices((2, 4))}))} == {4}
    assert known_good(DEFAULT.changed({"depth": Fixed(1), "learning_rate": Range(1e-5, 2e-5)})) == []


def test_spaces_stay_light() -> None:
    import subprocess
    import sys

    code = "import sys, spaces.yaml_io; print([m for m in ('optuna', 'numpy', 'pandas', 'search') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
