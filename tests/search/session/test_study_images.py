"""Images as a search takes them: a split that somebody made, and what was found in them before the first training."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from search import request as asking
from search.data import duplicates, scanned_folder
from search.errors import UserError
from search.events import SilentListener
from search.session.study_images import load_study_images
from search.storage.load import open_study
from tests.factories import make_images
from tests.search.session.test_session import run
from tests.small_searches import small_request

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("no_baselines")]


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
    loaded = load_study_images(
        small_request(tmp_path / "images", tmp_path / "out", labels=labels),
        SilentListener(),
        image_size=8,
        on_gpu=False,
    )
    assert loaded.images.summary.classes == {"bolt": 9, "nut": 9}
    assert loaded.test is not None
    assert loaded.test.summary.classes == {"bolt": 4, "nut": 4}
    assert all(file.startswith("train/") for file in loaded.images.files)


@pytest.mark.parametrize("size", [0, 7, -3, 5000])
def test_absurd_sizes_are_refused_before_images_are_read(tmp_path: Path, size: int) -> None:
    for native, option in ((False, "--image-size"), (True, "--max-side")):
        asked = small_request(tmp_path / "nowhere", tmp_path / "out", native=native)
        with pytest.raises(UserError, match=f"{option} must be between 8 and 1024 pixels, got {size}"):
            load_study_images(asked, SilentListener(), image_size=size, on_gpu=False)


def test_what_stood_out_is_kept_and_shown_and_copies_stay_on_one_side(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images", 12)
    for number in range(3):
        shutil.copy(folder / "bolt" / f"{number}.png", folder / "bolt" / f"again {number}.png")
    joined = run(small_request(folder, tmp_path / "joined", trials=2))
    assert joined.data.copies == 3
    assert joined.data.groups == 24
    assert "duplicate" in [kind for kind, *_ in joined.findings]
    of = dict(zip(joined.files, joined.groups, strict=True))
    assert all(of[f"bolt/again {number}.png"] == of[f"bolt/{number}.png"] for number in range(3))
    apart = run(small_request(folder, tmp_path / "apart", trials=2, split_copies=True))
    assert (apart.data.copies, apart.data.groups) == (None, None)
    assert open_study(tmp_path / "joined").findings == joined.findings


def test_a_start_reads_groups_and_splits_the_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection takes over what the loader computed, and the search what the check of the request did."""
    calls: Counter[str] = Counter()

    def count(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    for name in ("scan", "read_groups", "image_stats"):
        count(scanned_folder, name)
    count(duplicates, "clusters")
    for name in ("make_folds", "smallest_part", "bound_space"):
        count(asking, name)
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    folder, test = make_images(tmp_path / "images", 12), make_images(tmp_path / "test", 4)
    table = tmp_path / "groups.csv"
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
    table.write_text("\n".join(["file,group", *(f"{file},{number // 2}" for number, file in enumerate(files))]))
    study = run(small_request(folder, tmp_path / "out", trials=1, test=test, groups=table))
    assert study.data.groups is not None
    assert study.findings
    assert calls == {
        "scan": 2,  # the images, and the test images
        "image_stats": 2,
        "read_groups": 1,
        "clusters": 1,
        "make_folds": 1,
        "smallest_part": 1,
        "bound_space": 1,
    }
