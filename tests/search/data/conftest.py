from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees another's cache, or the user's."""
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """An image folder with so many different small grey PNGs a class."""

    def make(name: str = "images", *, side: int = 20, colour: bool = False, **counts: int) -> Path:
        rng = np.random.default_rng(0)
        for owner, count in counts.items():
            (tmp_path / name / owner).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (side, side, 3) if colour else (side, side), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / owner / f"{number}.png")
        return tmp_path / name

    return make
