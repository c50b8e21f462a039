"""What train and predict say at their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.model_lines import predicted_lines, trained_lines
from search.delivery.summaries import Predicted, Trained


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
        "Model: model.keras  (one training on 1,200 images, 23,714 weights)",
        "Card: model.json  (class names, how a file becomes an image, how it was trained)",
    ]


def test_an_ensemble_tells_its_held_out_score() -> None:
    first, second, *_, note = trained_lines(trained(members=5, held_out=0.8333, notes=("Mind this.",)))
    assert "(5 trainings averaged on 1,200 images" in first
    assert second.startswith("Held out: balanced accuracy 0.833, each image judged by the one training")
    assert note == "Note: Mind this."


def test_a_prediction() -> None:
    assert predicted_lines(predicted()) == ["Table: out.csv  (200 images)", "Given: benign 150, malignant 50"]


def test_unlike_images_are_counted_and_set_beside_what_is_usual() -> None:
    (line,) = predicted_lines(predicted(unlike=176))[2:]
    assert line.startswith("Unlike the training images: 176 (88 %); about 1 % is usual")


def test_images_in_the_folder_of_their_class() -> None:
    assert predicted_lines(predicted(right=(132, 200)))[2] == "In the folder of their class: 132 of 200 (66 %)"


def test_few_of_many_unreadable_files_are_named() -> None:
    (line,) = predicted_lines(predicted(unreadable={f"{n}.png": "empty file" for n in range(1007)}))[2:]
    assert line.startswith("Left out: 1,007 files that can't be read: 0.png (empty file), 1.png (empty file)")
    assert line.endswith("4.png (empty file) and 1,002 more")


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    lines = predicted_lines(predicted(classes={"a\x1b[31m": 200}, unreadable={"b\n.png": "empty file"}))
    assert all(line.isprintable() for line in lines)
