"""The emulator as a program, run by the Python of its own environment. Prints its port, then serves until it is ended.

fakesnow runs Snowflake's SQL on DuckDB, behind the real connector's own protocol. What it lacks and the product rests
on is added here as Snowflake documents it: an update holds its table until the transaction ends, and others wait; a
transaction that blocks another one and is idle is ended (here after seconds, there after five minutes); a transaction
has an id; failures have Snowflake's numbers. So a test that passes here shows that the product's steps are right if
Snowflake is as documented, not that it is.
"""

from __future__ import annotations

import itertools
import re
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import duckdb
import fakesnow.server  # type: ignore[import-not-found] # in the emulator's environment alone
import snowflake.connector.errors
import uvicorn
from fakesnow.cursor import FakeSnowflakeCursor  # type: ignore[import-not-found]
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

IDLE_S = 5.0
"""How long a transaction may block another one without a statement; five minutes in Snowflake."""

_NUMBERS: tuple[tuple[type[duckdb.Error], int, str], ...] = (
    (duckdb.ConstraintException, 100072, "22000"),
    (duckdb.TransactionException, 625, "57014"),
    (duckdb.InvalidInputException, 100069, "22P02"),
    (duckdb.Error, 1003, "42000"),
)
_UPDATED = re.compile(r'UPDATE\s+([\w".]+)', re.IGNORECASE)
_WRITES = ("INSERT", "UPDATE", "DELETE", "COPY", "MERGE")
_ENDS = ("COMMIT", "ROLLBACK", "CREATE", "DROP", "ALTER")


@dataclass
class _Held:
    """What one session has open."""

    transaction: int | None = None
    wrote: bool = False
    last: float = field(default_factory=time.monotonic)
    running: bool = False


class LostError(Exception):
    """The statement was carried out, its answer doesn't arrive."""


class _Locks:
    """Which session has updated which table in a transaction that is still open."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.holders: dict[str, Any] = {}

    def take(self, table: str, session: Any) -> None:
        with self.changed:
            while (holder := self.holders.get(table, session)) is not session:
                held = _held(holder)
                if not held.running and time.monotonic() - held.last > IDLE_S:
                    holder._duck_conn.rollback()
                    holder._in_transaction = False
                    self.release(holder)
                else:
                    self.changed.wait(0.05)
            self.holders[table] = session

    def release(self, session: Any) -> None:
        with self.changed:
            held = _held(session)
            held.transaction, held.wrote = None, False
            for table in [table for table, holder in self.holders.items() if holder is session]:
                del self.holders[table]
            self.changed.notify_all()


_locks = _Locks()
_creating = threading.Lock()
_numbers = itertools.count(1)
_lost: dict[str, int] = {}
_carry_out = FakeSnowflakeCursor.execute


def _held(session: Any) -> _Held:
    if not hasattr(session, "held"):
        session.held = _Held()
    found: _Held = session.held
    return found


def _execute(cursor: Any, command: str, params: Sequence[Any] | None = None, *args: Any, **more: Any) -> Any:
    session, first = cursor._conn, command.split(None, 1)[0].upper()
    held = _held(session)
    if command == "SELECT CURRENT_TRANSACTION()":
        command = f"SELECT CAST({held.transaction or 'NULL'} AS NUMBER(38,0))"
    if command.startswith("ALTER SESSION SET QUERY_TAG"):
        command = first = "SELECT 1"
    if updated := _UPDATED.match(command):
        _locks.take(f"{session.database}.{updated[1]}", session)
        if held.transaction is not None and not held.wrote:
            # DuckDB's transaction sees what was committed when it began; Snowflake's each statement by itself.
            session._duck_conn.rollback()
            session._duck_conn.begin()
    held.running = True
    try:
        # fakesnow keeps what it knows of columns under a table's name, temporary ones of several sessions alike.
        with _creating if first == "CREATE" else nullcontext():
            done = _carry_out(cursor, command, params, *args, **more)
    except duckdb.Error as error:
        number, state = next((n, s) for kind, n, s in _NUMBERS if isinstance(error, kind))
        raise snowflake.connector.errors.ProgrammingError(msg=str(error), errno=number, sqlstate=state) from error
    finally:
        held.running, held.last = False, time.monotonic()
    if first in _ENDS:
        _locks.release(session)
    elif held.transaction is None and first in ("BEGIN", *_WRITES):
        held.transaction = next(_numbers)
    held.wrote = held.wrote or first in _WRITES
    if _lost.get(first, 0):
        _lost[first] -= 1
        raise LostError(first)
    return done


async def _lose(request: Request) -> JSONResponse:
    """Lose the answers to the next statements that begin with a word."""
    given = await request.json()
    _lost[given["word"]] = given["times"]
    return JSONResponse({})


def main() -> None:
    """Serve on a free port of this machine."""
    FakeSnowflakeCursor.execute = _execute
    # A schema that isn't there isn't made by whoever connects with its name.
    fakesnow.server.shared_fs.create_schema_on_connect = False
    fakesnow.server.app.router.routes.append(Route("/tests/lose", _lose, methods=["POST"]))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(fakesnow.server.app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
