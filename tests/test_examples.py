"""The images of `examples/four_questions`: the same every time, and what the stories say of them."""

from __future__ import annotations

import shlex
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from commands import search
from examples.four_questions import make_images

pytestmark = pytest.mark.slow

ROOT = Path(make_images.__file__).parent
STORIES = ("one_against_all", "stuck_at_0_6931", "frozen_backbone", "rows_and_columns")

COUNTS = {
    "one_against_all": {
        "train/other": 800, "train/spotted": 34, "test/other": 400, "test/spotted": 18,
    },
    "stuck_at_0_6931": {
        "train/benign": 55, "train/malignant": 55, "test/benign": 25, "test/malignant": 25,
    },
    "frozen_backbone": {
        "train/checks": 150, "train/stripes": 150, "test/checks": 50, "test/stripes": 50,
    },
    "rows_and_columns": {"column": 3, "row": 3},
}  # fmt: skip


@cache
def images(story: str) -> list[tuple[str, make_images.Pixels]]:
    return list(make_images.images(story))


@pytest.mark.parametrize("story", STORIES)
def test_images_are_as_many_as_the_story_says_and_the_same_every_time(story: str) -> None:
    once, again = images(story), list(make_images.images(story))
    assert Counter(name.rpartition("/")[0] for name, _ in once) == COUNTS[story]
    assert [name for name, _ in once] == [name for name, _ in again]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(once, again, strict=True))
    assert len({pixels.tobytes() for _, pixels in once}) == len(once), "no image lies there twice"


def test_the_six_images_of_the_fourth_question() -> None:
    drawn = {name: pixels.tolist() for name, pixels in make_images.images("rows_and_columns")}
    o, w = 0, 255
    assert drawn == {
        "column/0.png": [[w, o, o], [w, o, o], [w, o, o]],
        "column/1.png": [[o, w, o], [o, w, o], [o, w, o]],
        "column/2.png": [[o, o, w], [o, o, w], [o, o, w]],
        "row/0.png": [[w, w, w], [o, o, o], [o, o, o]],
        "row/1.png": [[o, o, o], [w, w, w], [o, o, o]],
        "row/2.png": [[o, o, o], [o, o, o], [w, w, w]],
    }


@pytest.mark.parametrize(
    ("story", "smallest", "largest", "channels"),
    [("one_against_all", 64, 80, 1), ("stuck_at_0_6931", 32, 32, 3), ("frozen_backbone", 32, 32, 3)],
)
def test_sizes_and_channels(story: str, smallest: int, largest: int, channels: int) -> None:
    shapes = [pixels.shape for _, pixels in images(story)]
    assert {len(shape) for shape in shapes} == {2 if channels == 1 else 3}
    sides = [side for shape in shapes for side in shape[:2]]
    assert (min(sides), max(sides)) == (smallest, largest)


def test_the_files_hold_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {story: {name: (draw, 2, 1) for name, (draw, *_) in classes.items()} for story, classes in _drawn().items()}
    monkeypatch.setattr(make_images, "DRAWN", few)
    make_images.write(tmp_path)
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert len(made) == 3 * 2 * 3 + 6
    for story in STORIES:
        for name, pixels in make_images.images(story):
            assert np.array_equal(np.asarray(Image.open(tmp_path / story / name)), pixels)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    make_images.write(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == written


def _drawn() -> dict[str, dict[str, tuple[make_images.Draw, int, int]]]:
    return make_images.DRAWN


@pytest.mark.parametrize("story", STORIES)
def test_a_mended_network_differs_in_few_lines(story: str) -> None:
    """Beside its own first words."""
    asked, mended = (
        (ROOT / story / name).read_text().split('"""', 2)[2].splitlines() for name in ("net.py", "mended.py")
    )
    changed = set(asked).symmetric_difference(mended)
    assert 1 <= len(changed) <= 3


@pytest.mark.parametrize("name", ["postgres.sh", "slurm.sh"])
def test_scripts_for_clusters_are_sound(name: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT.parent / "cluster" / name)], check=True)


def test_the_kubernetes_job_searches_and_shows_no_password() -> None:
    job = yaml.safe_load((ROOT.parent / "cluster" / "kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (storage,) = (entry for entry in container["env"] if entry["name"] == "STEADYNET_STORAGE")
    assert "secretKeyRef" in storage["valueFrom"]
    (words,) = (shlex.split(text) for text in container["args"])
    options = search.parser("search", "").parse_args(words[words.index("run_search.py") + 1 :])
    assert (options.study, options.trials) == ("images", 400)
