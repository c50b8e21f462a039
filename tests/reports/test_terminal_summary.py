"""The last lines of search, train and predict on the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.terminal_summary import closing_lines, predicted_lines, trained_lines
from search.delivery.summaries import Predicted, Trained
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

FULL = robust.everything(20)


def test_the_end_on_the_terminal_says_what_to_expect_whether_it_holds_and_what_to_do() -> None:
    assert FULL.recommended is not None
    promise = FULL.recommended.promise
    text = "\n".join(closing_lines(FULL))
    assert f"Expected balanced accuracy on new images: {promise.value:.3f}, 95 % interval {promise.low:.3f} to" in text
    assert f"search score, too high because it is the best of many: {FULL.recommended.ranked.pooled:.3f}" in text
    assert "Trained again on fresh splits: 0 of 25 fits collapsed" in text
    assert "python run_search.py train --config runs/images/best_config.yaml --data images --model model.keras" in text
    assert "python run_search.py predict --model model.keras --data ./new_images --csv out.csv" in text


def test_inconclusive_is_said_with_the_number_of_images() -> None:
    assert FULL.recommended is not None
    promise = replace(FULL.recommended.promise, inconclusive=True, images_needed=900)
    text = "\n".join(closing_lines(replace(FULL, recommended=replace(FULL.recommended, promise=promise))))
    assert "The result is inconclusive." in text
    assert "About 900 images in total would probably be enough to decide; you have 120." in text


def test_without_a_recommendation_there_is_no_command_to_train() -> None:
    lines = closing_lines(fake.results([fake.trial(0, [], "dead-layer")], reason="no healthy configuration"))
    assert lines[0].startswith("No recommendation: no healthy configuration (1 trial, 1 fit; collapsed: 1 dead-layer).")
    assert not any("train --config" in line for line in lines)


def trained(**changes: Any) -> Trained:
    values: dict[str, Any] = {
        "model": Path("model.keras"),
        "card": Path("model.json"),
        "images": 1200,
        "members": 1,
        "weights": 23_714,
        "metric": "balanced_accuracy",
        "held_out": None,
        "notes": (),
    }
    return Trained(**{**values, **changes})


def predicted(**changes: Any) -> Predicted:
    values: dict[str, Any] = {
        "csv": Path("out.csv"),
        "images": 200,
        "classes": {"benign": 150, "malignant": 50},
        "unlike": 0,
        "unreadable": {},
        "right": None,
        "notes": (),
    }
    return Predicted(**{**values, **changes})


def test_a_training() -> None:
    assert trained_lines(trained()) == [
        "Model: model.keras  (one fit on 1,200 images, 23,714 weights)",
        "Model card: model.json  (class names, how to load an image, how the model was trained)",
    ]


def test_an_ensemble_reports_its_held_out_score() -> None:
    first, second, *_, note = trained_lines(trained(members=5, held_out=0.8333, notes=("Mind this.",)))
    assert "(average of 5 fits on 1,200 images" in first
    assert second.startswith("Held-out balanced accuracy: 0.833, each image scored by the one fit")
    assert note == "Note: Mind this."


def test_a_prediction() -> None:
    assert predicted_lines(predicted()) == ["Table: out.csv  (200 images)", "Predicted: benign 150, malignant 50"]


def test_unlike_images_are_counted_and_set_beside_what_is_usual() -> None:
    (line,) = predicted_lines(predicted(unlike=176))[2:]
    assert line.startswith("Unlike the training images: 176 (88 %). About 1 % is normal")


def test_images_in_the_folder_of_their_class() -> None:
    assert predicted_lines(predicted(right=(132, 200)))[2] == "In the folder of the predicted class: 132 of 200 (66 %)"


def test_few_of_many_unreadable_files_are_named() -> None:
    (line,) = predicted_lines(predicted(unreadable={f"{n}.png": "empty file" for n in range(1007)}))[2:]
    assert line.startswith("Skipped: 1,007 files that can't be read: 0.png (empty file), 1.png (empty file)")
    assert line.endswith("4.png (empty file) and 1,002 more")


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    lines = predicted_lines(predicted(classes={"a\x1b[31m": 200}, unreadable={"b\n.png": "empty file"}))
    assert all(line.isprintable() for line in lines)
