"""A throw-away PostgreSQL: a cluster of its own in a folder, on a free loopback port, never as root."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ACCOUNT = "postgres"  # Debian's package makes it


def programs() -> Path | None:
    """Folder of `initdb` and `pg_ctl`, the newest version's; None if PostgreSQL is not installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Server:
    """A cluster that can be stopped and started.

    Args:
        folder: to make it in; must be reachable for the account that it runs as.
    """

    def __init__(self, folder: Path) -> None:
        found = programs()
        assert found is not None
        self._bin, self._data, self._log = found, folder / "cluster", folder / "server.log"
        self.port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "steady", "--auth=trust", "--no-sync", "--encoding=UTF8")

    @property
    def url(self) -> str:
        """Of its one database."""
        return f"postgresql://steady:geheim@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """And wait until it answers."""
        options = f"-p {self.port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._log), "-w", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is how a machine that loses its power stops."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if os.getuid() == 0:
            command = ["setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--clear-groups", "--", *command]
        # Its output would stay open in the server that pg_ctl leaves behind.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


class Pooler:
    """PgBouncer in front of a server, by the settings of `examples/cluster`, but for their ports and accounts.

    Args:
        folder: for its files; must be reachable for the account that it runs as.
        server: behind it.
        connections: of the server that it keeps.
    """

    def __init__(self, folder: Path, server: Server, connections: int) -> None:
        self.port = _free_port()
        text = (Path(__file__).parents[1] / "examples/cluster/pgbouncer.ini").read_text()
        for given, ours in (
            ("studies = host=127.0.0.1 port=5432 dbname=studies", f"postgres = host=127.0.0.1 port={server.port}"),
            ("listen_addr = *", "listen_addr = 127.0.0.1"),
            ("listen_port = 6432", f"listen_port = {self.port}"),
            ("auth_type = scram-sha-256", "auth_type = any"),
            ("auth_file = /etc/pgbouncer/userlist.txt\n", ""),
            ("default_pool_size = 50", f"default_pool_size = {connections}"),
        ):
            assert given in text, given
            text = text.replace(given, ours)
        text = text.replace(f"port={server.port}", f"port={server.port} user=steady")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "pgbouncer.ini"
        file.write_text(f"{text}unix_socket_dir =\nlogfile = {folder}/log\n")
        command = ["pgbouncer", "-q", str(file)]
        if os.getuid() == 0:
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
            command = ["setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--clear-groups", "--", *command]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.1):
                return
            time.sleep(0.1)
        raise RuntimeError("PgBouncer does not answer")

    @property
    def url(self) -> str:
        """Of the server's one database, through it."""
        return f"postgresql://steady:geheim@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """At once."""
        self._process.kill()
        self._process.wait()


@contextmanager
def running() -> Iterator[Server]:
    """A server for as long as the block lasts."""
    with _reachable_folder() as folder:
        server = Server(folder / "server")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def pooling(server: Server, connections: int) -> Iterator[Pooler]:
    """PgBouncer in front of the server for as long as the block lasts."""
    with _reachable_folder() as folder:
        pooler = Pooler(folder / "pooler", server, connections)
        try:
            yield pooler
        finally:
            pooler.stop()


@contextmanager
def _reachable_folder() -> Iterator[Path]:
    """A temporary folder that other accounts reach."""
    with tempfile.TemporaryDirectory(prefix="steadynet-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
