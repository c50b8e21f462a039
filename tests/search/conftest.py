from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest

from search.data.folds import make_folds
from search.fits.runner import StudySetup
from search.settings import Plan, TrainingProtocol
from spaces.image_format import ImageFormat
from tests.factories import make_images


@pytest.fixture
def setup() -> StudySetup:
    """Two classes of 30 images, three folds; without a time limit."""
    labels = np.repeat([0, 1], 30)
    return StudySetup(
        labels=labels,
        folds=make_folds(labels, folds=3, seed=0, groups=None, class_names=("a", "b")),
        fingerprint="f",
        protocol=TrainingProtocol(epochs=30, images=ImageFormat(image_size=8, channels=1), classes=2),
        plan=Plan(epochs=30, folds=3, search_seconds=None, final_seconds=0.0, fit_seconds=None),
        metric="balanced_accuracy",
        chance=0.5,
        seed=0,
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with 24 images of two classes, to be left as it is; read once."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEADYNET_CACHE", str(folder / "cache"))
        yield make_images(folder / "images", 12)


@pytest.fixture(autouse=True)
def quiet_optuna(request: pytest.FixtureRequest) -> None:
    """Where studies are made: Optuna keeps quiet, and its migrations are imported once."""
    if request.path.parent.name in {"session", "stages", "optimize", "fits", "storage"}:
        request.getfixturevalue("known_migrations")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
