"""What holds for every test."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

# No property is about time, and a machine that does something else besides is no error.
settings.register_profile("steadynet", deadline=None, max_examples=50)
settings.load_profile("steadynet")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported for the tests lives as long as they do: nobody looks for rubbish in it, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(scope="session")
def known_migrations() -> Iterator[None]:
    """Optuna imports all its migrations anew, once to three times, whenever it opens a database: here once in all."""
    from optuna.storages import RDBStorage
    from optuna.storages._rdb.storage import _VersionManager

    migrations = RDBStorage("sqlite://")._version_manager._create_alembic_script()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "_create_alembic_script", lambda self: migrations)
        yield
