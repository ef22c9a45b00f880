"""A private place for one load: an empty DuckDB that counts what was staged, and the files made of it.

The temporary tables, inserts and counts are those of the SQL warehouses, run on tables that are empty before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa

from topicledger.private_folder import private_folder
from topicledger.warehouse import schema
from topicledger.warehouse.contract import WarehouseSettings
from topicledger.warehouse.dialect import DUCKDB, quoted
from topicledger.warehouse.duckdb import DuckdbSession
from topicledger.warehouse.parquet import ROWS_PER_GROUP
from topicledger.warehouse.tables import StoredColumn, Tables

_NAME = "topicledger_scratch_"
EXTRA = ("memory_limit",)
"""The keys of the connection's Extra that are the scratch database's."""

_TEXT = ("uuid", "json")


class Scratch(DuckdbSession):
    """A DuckDB of its own, with the pipeline's tables in it, empty."""

    def __init__(self, settings: WarehouseSettings, folder: Path, tables: Tables) -> None:
        extra = {"memory_limit": "1GB"} | {key: settings.extra[key] for key in EXTRA if key in settings.extra}
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
    with private_folder(_NAME) as folder, closing(Scratch(settings, folder, tables)) as scratch:
        yield scratch
