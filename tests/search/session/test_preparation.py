"""Images as a search takes them: a split that somebody made, and what was found in them before the first training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from search.events import SilentListener
from search.session import preparation
from search.storage.load import open_study
from tests.factories import make_images
from tests.search.session.test_session import no_baselines, request, run

__all__ = ["no_baselines"]

pytestmark = pytest.mark.study


@pytest.mark.parametrize("by_table", [False, True])
def test_the_test_of_a_split_is_read_beside_the_rest(tmp_path: Path, by_table: bool) -> None:
    make_images(tmp_path / "images" / "train", 9)
    make_images(tmp_path / "images" / "test", 4)
    labels = None
    if by_table:
        files = sorted((tmp_path / "images").rglob("*.png"))
        rows = [f"{file.relative_to(tmp_path / 'images')},{file.parent.name}" for file in files]
        labels = tmp_path / "labels.csv"
        labels.write_text("\n".join(["file,label", *rows]))
    images, test = preparation.load(
        request(tmp_path / "images", tmp_path / "out", labels=labels), 8, False, SilentListener()
    )
    assert images.summary.classes == {"bolt": 9, "nut": 9}
    assert test is not None
    assert test.summary.classes == {"bolt": 4, "nut": 4}
    assert all(file.startswith("train/") for file in images.files)


def test_what_stood_out_is_kept_and_shown_and_copies_stay_on_one_side(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images", 12)
    for number in range(3):
        shutil.copy(folder / "bolt" / f"{number}.png", folder / "bolt" / f"again {number}.png")
    joined = run(request(folder, tmp_path / "joined", trials=2))
    assert joined.data.copies == 3
    assert joined.data.groups == 24
    assert "duplicate" in [kind for kind, *_ in joined.findings]
    of = dict(zip(joined.files, joined.groups, strict=True))
    assert all(of[f"bolt/again {number}.png"] == of[f"bolt/{number}.png"] for number in range(3))
    apart = run(request(folder, tmp_path / "apart", trials=2, split_copies=True))
    assert (apart.data.copies, apart.data.groups) == (None, None)
    assert open_study(tmp_path / "joined").findings == joined.findings
