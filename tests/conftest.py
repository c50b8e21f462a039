"""What holds for every test."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import Server, running

# No property is about time, and a machine that does something else besides is no error.
settings.register_profile("steadynet", deadline=None, max_examples=50)
settings.load_profile("steadynet")

# Of some hundred processes that tests start only the first compiles what all of them import.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# With the longest files first no process of pytest-xdist ends long before the other. They take from a minute down to
# ten seconds each on an idle machine.
LONGEST_FIRST = (
    "keras_tests/test_real_folders.py",
    "keras_tests/test_whole_search.py",
    "keras_tests/test_train_and_predict.py",
    "faults/test_kills.py",
    "reports/test_browser.py",
    "search/session/test_many_hosts.py",
    "keras_tests/test_engine.py",
    "keras_tests/diagnosis/test_faults.py",
    "search/storage/test_optuna_suite.py",
    "faults/test_lost_hosts.py",
    "faults/test_disks.py",
    "keras_tests/test_four_questions.py",
    "keras_tests/test_export.py",
    "keras_tests/test_every_size.py",
    "keras_tests/test_transfer.py",
    "keras_tests/test_gpu_ready.py",
    "keras_tests/test_pool.py",
    "keras_tests/test_backbones.py",
    "keras_tests/test_vision_transformer.py",
    "search/inspection/test_folder_check.py",
    "search/stages/test_pipeline.py",
    "keras_tests/test_worker_traces.py",
    "keras_tests/diagnosis_process/test_whole_command.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist, where it is at work, hand out files as they are collected, not by how many tests they hold."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported for the tests lives as long as they do: nobody looks for rubbish in it, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(scope="module")
def no_baselines() -> Iterator[None]:
    """The simple classifiers of a search, which have tests of their own and take their time, are left out."""
    from search.session import planning

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "baselines", lambda *arguments: {"constant": 0.5})
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of this module's own."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def known_migrations() -> Iterator[None]:
    """Optuna imports all its migrations anew, once to three times, whenever it opens a database: here once in all."""
    from optuna.storages import RDBStorage
    from optuna.storages._rdb.storage import _VersionManager

    migrations = RDBStorage("sqlite://")._version_manager._create_alembic_script()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "_create_alembic_script", lambda self: migrations)
        yield
