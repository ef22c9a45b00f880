"""A private place for one load: an empty DuckDB that counts what was staged, and the files made of it.

The temporary tables, inserts and counts are those of the SQL warehouses, run on tables that are empty before.
A killed load leaves its folder; the next load on that machine removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from topicledger.warehouse import schema
from topicledger.warehouse.contract import WarehouseSettings
from topicledger.warehouse.dialect import DUCKDB, quoted
from topicledger.warehouse.duckdb import DuckdbSession
from topicledger.warehouse.parquet import ROWS_PER_GROUP
from topicledger.warehouse.tables import StoredColumn, Tables

_NAME = "topicledger_scratch_"
_LOCK = "lock"
EXTRA = ("memory_limit",)
"""The keys of the connection's Extra that are the scratch database's."""

_TEXT = ("uuid", "json")


class Scratch(DuckdbSession):
    """A DuckDB of its own, with the pipeline's tables in it, empty."""

    def __init__(self, settings: WarehouseSettings, folder: Path, tables: Tables) -> None:
        extra = {key: settings.extra[key] for key in EXTRA if key in settings.extra}
        super().__init__(
            WarehouseSettings(settings.conn_id, "duckdb", extra=extra), folder / "scratch.duckdb", create=True
        )
        self.folder = folder
        # One transaction that is never committed: nothing has to reach the disk but what doesn't fit into memory.
        self.begin()
        for statement in schema.ddl(tables, DUCKDB):
            self.execute(statement)

    def rows(self, table: str, columns: Sequence[StoredColumn]) -> pa.RecordBatchReader:
        """A table's rows, by their coordinates, in batches of `ROWS_PER_GROUP`."""
        picked = ", ".join(
            f"CAST({quoted(c.name)} AS VARCHAR) AS {quoted(c.name)}" if c.type in _TEXT else quoted(c.name)
            for c in columns
        )
        with self._translated():
            relation = self._connection.sql(
                f"SELECT {picked} FROM {table} ORDER BY _kafka_partition, _kafka_offset"  # noqa: S608 - quoted names
            )
            # DuckDB 2 has another name for it.
            read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
            reader: pa.RecordBatchReader = read(ROWS_PER_GROUP)
        return reader


@contextmanager
def opened_scratch(settings: WarehouseSettings, tables: Tables) -> Iterator[Scratch]:
    """A scratch database in a folder that only this user may enter; both are gone when the block ends."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_NAME))
    lock = os.open(folder / "new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # It gets its name when it is locked: a sweep in between must not take the folder for a dead load's.
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / _LOCK)
        with closing(Scratch(settings, folder, tables)) as scratch:
            yield scratch
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep() -> None:
    """Remove what killed loads of this user left: a folder whose lock nobody holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_NAME}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
