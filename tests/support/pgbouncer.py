"""A real PgBouncer before a PostgreSQL: the system's, or Debian's package, which is installed when it is missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from devstack.ports import LOCALHOST, free_port
from devstack.postgres import Postgres, _as_somebody
from devstack.service import Service, wait_until_ready

_LIMIT_S = 30
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


def _program() -> str:
    found = shutil.which("pgbouncer", path=_PLACES)
    if found is None:
        _install()
        found = shutil.which("pgbouncer", path=_PLACES)
    if found is None:
        pytest.fail("Debian's package pgbouncer is installed, and there is no program of that name in it")
    return found


def _install() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.fail("this test needs PgBouncer, and may not install it: run `apt-get install pgbouncer` as root first")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "pgbouncer"]):
        done = subprocess.run(["apt-get", *command], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode and command != ["update"]:
            pytest.fail(f"this test needs PgBouncer, and `apt-get install pgbouncer` failed: {done.stderr[-1_000:]}")


@contextmanager
def running_pgbouncer(folder: Path, server: Postgres, pool_size: int = 10) -> Iterator[int]:
    """Give the port of a PgBouncer in transaction mode; it hands out the server's sessions in turn.

    Args:
        folder: Everything it keeps is in here.
        server: The server behind it; every client gets in there as its administrator.
        pool_size: How many sessions it has for each database.
    """
    program, port = _program(), free_port()
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"""[databases]
* = host={server.host} port={server.port} user={server.user}
[pgbouncer]
listen_addr = {LOCALHOST}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
server_round_robin = 1
"""
    )
    bouncer = Service.start(
        "PgBouncer",
        [*_as_somebody(), program, str(settings)],
        folder=folder,
        log=folder / "pgbouncer.log",
        stop_signal=signal.SIGINT,
    )
    try:
        wait_until_ready(bouncer, lambda: _answers(port, server), _LIMIT_S)
        yield port
    finally:
        bouncer.stop()


def _answers(port: int, server: Postgres) -> bool:
    try:
        psycopg.connect(f"host={LOCALHOST} port={port} user={server.user} dbname=postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
