"""A PostgreSQL of our own: its rows survive, its processes don't."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import psycopg
import pytest

from devstack import StackError, running_postgres
from devstack.service import marked_processes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


def test_rows_survive_a_kill_and_a_stop(tmp_path: Path) -> None:
    """After a kill and after a stop committed rows are there and open transactions are gone; then nothing is left."""
    with running_postgres(tmp_path, {"fsync": "off"}) as server:
        assert server.create_database("it's")
        assert not server.create_database("it's")
        dsn = server.dsn("postgres")
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
        open_transaction = psycopg.connect(dsn)
        open_transaction.execute("INSERT INTO kept VALUES (2)")

        service = server.service
        assert service is not None
        server.kill()
        assert not service.alive()
        open_transaction.close()
        server.start()
        server.stop()
        server.start()
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT a FROM kept").fetchall() == [(1,)]
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
        last = server.service
        assert last is not None
    assert not last.alive()
    assert marked_processes(tmp_path) == set()


def test_no_folder_on_the_way_is_opened_to_others(tmp_path: Path) -> None:
    """A private folder stays private, and the server works in it all the same, also as root."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with running_postgres(private / "pg") as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE((private / "pg" / "data").stat().st_mode) == 0o700


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    """A folder whose path is too long for a socket is refused before anything is written."""
    folder = tmp_path / ("long" * 30)
    with pytest.raises(StackError, match="107"), running_postgres(folder):
        pass
    assert not folder.exists()
