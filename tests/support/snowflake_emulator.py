"""A Snowflake emulator (fakesnow) in a process and an environment of its own, made from its lock when it is needed.

A real account is used beside it when TOPICLEDGER_SNOWFLAKE has a connection as JSON; its role must be able to create
databases. Nothing has ever run there.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from devstack.locked_environment import locked_environment
from topicledger.cli.connections import parse_json
from topicledger.connection import Connection
from topicledger.warehouse.snowflake.connection import arguments, checked_extra

ROOT = Path(__file__).parents[2]
REAL = "TOPICLEDGER_SNOWFLAKE"
LOGIN, PASSWORD = "loader", "a-snowflake-password"

_LOCK = ROOT / "requirements" / "snowflake.txt"
_FOLDER = ROOT / ".cache" / "snowflake-emulator"
_SERVER = Path(__file__).with_name("snowflake_server.py")


@dataclass
class Emulator:
    """The running emulator."""

    port: int

    def account(self) -> Connection:
        """A connection to a database of its own, which connecting creates."""
        extra = {
            "account": "emulated",
            "database": f"CASE_{uuid.uuid4().hex[:12].upper()}",
            "warehouse": "TESTS",
            "host": "127.0.0.1",
            "port": self.port,
            "protocol": "http",
            "login_timeout": 20,
            "network_timeout": 60,
            "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
        }
        return Connection("warehouse_default", "snowflake", login=LOGIN, password=PASSWORD, extra=extra)

    def lose_answers(self, word: str, times: int) -> None:
        """Carry out the next statements that begin with a word, and answer nothing of use."""
        httpx.post(f"http://127.0.0.1:{self.port}/tests/lose", json={"word": word, "times": times}).raise_for_status()


@contextmanager
def running_emulator(folder: Path) -> Iterator[Emulator]:
    """Start it on a free port; it ends with the block.

    Args:
        folder: Where its stages and its log are.
    """
    python = locked_environment(_LOCK, _FOLDER)
    with (folder / "emulator.log").open("w") as log:
        process = subprocess.Popen(
            [str(python), str(_SERVER)],
            env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": ""},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            assert said, (folder / "emulator.log").read_text()
            yield Emulator(int(said))
        finally:
            process.kill()
            process.communicate()


@contextmanager
def real_account() -> Iterator[Connection]:
    """A connection to a new database of the account that the environment names; it is dropped afterwards."""
    found = parse_json("warehouse_default", os.environ[REAL])
    name = f"CASE_{uuid.uuid4().hex[:12].upper()}"
    settings = Connection(
        found.conn_id,
        found.conn_type,
        login=found.login,
        password=found.password,
        extra={**found.extra, "database": name},
    )
    outside = replace(settings, extra={**found.extra, "database": found.extra.get("database", "SNOWFLAKE")})
    look(outside, f"CREATE DATABASE {name}")
    try:
        yield settings
    finally:
        look(outside, f"DROP DATABASE {name}")


def look(settings: Connection, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement in a session of its own, and commit it."""
    import snowflake.connector  # a second, for those that need it

    given = arguments(settings, checked_extra(settings), settings.schema or "PUBLIC")
    with snowflake.connector.connect(**{**given, "autocommit": True}) as session, session.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
