"""Optuna's own suite for storages, on each of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from search.storage import server
from search.storage.database import close, open_storage
from search.storage.server import ServerStorage
from tests.servers import programs, running

pytestmark = [pytest.mark.usefixtures("known_migrations"), pytest.mark.slow]


class TestEmbeddedStorage(StorageTestCase):
    """The file of a run folder, behind Optuna's cache as in every study."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BaseStorage]:
        opened = open_storage(tmp_path)
        assert isinstance(opened, optuna.storages.RDBStorage)
        yield optuna.storages.get_storage(opened)
        close(opened)


@pytest.fixture(scope="module")
def server_storage() -> Iterator[ServerStorage]:
    with running() as cluster:
        opened = open_storage(Path(), cluster.url)
        assert isinstance(opened, ServerStorage)
        yield opened
        close(opened)


class TestServerStorage(StorageTestCase):
    """The proxy in front of a server; where PostgreSQL is not installed, in front of a file."""

    @pytest.fixture
    def storage(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[BaseStorage]:
        if programs() is None:
            opened = ServerStorage(f"sqlite:///{tmp_path}/x.db")
            yield opened
            close(opened)
            return
        shared: ServerStorage = request.getfixturevalue("server_storage")
        with shared.engine.begin() as connection:
            connection.execute(sa.text("TRUNCATE studies CASCADE"))
        connect, others = server._connect, []
        monkeypatch.setattr(server, "_connect", lambda url: others.append(connect(url)) or others[-1])
        yield shared
        for other in others:  # unpickled ones
            other.engine.dispose()
