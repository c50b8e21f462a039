from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.best_config import best_config_text
from search.selection.results import Results
from spaces.best_config import KEYS, load_best_config
from spaces.config import Configuration
from spaces.image_format import ImageFormat
from spaces.yaml_io import load_configurations
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust


def load(results: Results) -> Any:
    assert results.recommended is not None
    return yaml.safe_load(best_config_text(results, results.recommended))


@pytest.mark.parametrize("seed", range(8))
def test_the_configuration_comes_back_unchanged(seed: int) -> None:
    config = fake.configuration(seed)
    content = load(fake.results([replace(fake.trial(0, [0.8] * 5), configuration=config)]))
    assert Configuration(**content["configuration"]["sampled"]) == config
    assert content["configuration"]["canonical"] == config.canonical()
    assert content["configuration"]["hash"] == config.hash


def test_the_file_can_start_another_search(tmp_path: Path) -> None:
    results = fake.results(fake.trials(12))
    assert results.recommended is not None
    path = tmp_path / "best_config.yaml"
    path.write_text(best_config_text(results, results.recommended))
    assert load_configurations(path) == [results.recommended.ranked.trial.configuration]


def test_everything_needed_to_train_and_use_it_is_there() -> None:
    content = load(fake.results(fake.trials(12), test=True))
    assert content["schema"] == 1
    assert content["classes"] == ["benign", "malignant"]
    assert content["decision_offset"] == [0.0, -0.21]
    assert content["training"]["epochs"] == fake.EPOCHS
    assert len(content["fold_scores"]) == fake.FOLDS
    assert content["promise"]["low"] <= content["promise"]["value"] <= content["promise"]["high"]
    assert content["promise"]["value"] < content["search_mean"]
    assert content["test"] == {"score": 0.81, "n": 60}
    assert content["data"]["fingerprint"] == "3f2a9c81d07e"
    assert content["seed"] == 7
    assert content["command"].startswith("python run_search.py")
    assert {"metric", "chance", "versions", "device", "images"} <= set(content)


def test_whoever_reads_the_file_knows_all_that_is_ever_written() -> None:
    whole = load(robust.confirmed(fake.results(fake.trials(12), test=True)))
    assert set(whole) == set(KEYS)


def test_confirmed_scores_and_the_promise_s_stages_stand_there() -> None:
    results = robust.confirmed(fake.results(fake.trials(12)))
    best = results.recommended
    assert best is not None
    assert best.finalist is not None
    content = load(results)
    assert content["promise"]["stages"] == 2
    assert content["confirmed"]["scores"] == pytest.approx(list(best.finalist.scores))
    assert content["confirmed"]["mean"] == pytest.approx(best.finalist.mean)
    assert content["confirmed"]["collapsed"] == 0
    assert content["se"] == pytest.approx(best.finalist.se)
    assert load(fake.results(fake.trials(12)))["confirmed"] is None


@pytest.mark.parametrize("confirmed", [False, True])
def test_it_can_be_trained_from(tmp_path: Path, confirmed: bool) -> None:
    results = fake.results(fake.trials(12), test=True)
    results = robust.confirmed(results) if confirmed else results
    assert results.recommended is not None
    path = tmp_path / "best_config.yaml"
    path.write_text(best_config_text(results, results.recommended))
    found = load_best_config(path)
    assert found.configuration == results.recommended.ranked.trial.configuration
    assert not found.edited
    assert found.folds == fake.FOLDS


def test_class_names_that_look_like_something_else_stay_names() -> None:
    classes = {"no": 10, "1e3": 11, "!!python/none": 12, "a: b # c": 13, "\udcff": 14, "名": 15}
    assert load(fake.results(fake.trials(12), classes=classes))["classes"] == list(classes)


def test_what_is_white_in_deep_images_is_told_where_there_are_such() -> None:
    results = fake.results(fake.trials(12))
    deep = replace(results, study=replace(results.study, data=replace(results.study.data, white=4095.0)))
    assert load(deep)["training"]["white"] == 4095.0
    assert {"white": 4095.0} in load(deep)["images"]["steps"]
    assert "white" not in load(results)["training"]
    assert (
        ImageFormat(image_size=64, channels=1, white=4095.0)
        .recipe()["recipe"]
        .startswith("of more than 8 bits a channel take 4095 for white; ")
    )


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L")])
def test_the_image_recipe_in_words_and_data(channels: int, mode: str) -> None:
    recipe = ImageFormat(image_size=64, channels=channels).recipe()
    assert "64 x 64" in recipe["recipe"]
    assert "EXIF" in recipe["recipe"]
    assert {"convert": mode} in recipe["steps"]
