"""A private place for one load: an empty DuckDB that counts what was staged, and the files made of it.

The temporary tables, inserts and counts are those of the SQL warehouses, run on tables that are empty before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa

from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.private_folder import private_folder
from topicledger.warehouse.duckdb.errors import as_arrow_said
from topicledger.warehouse.duckdb.warehouse import VECTOR_ROWS, DuckdbSession, Memory
from topicledger.warehouse.sql import schema
from topicledger.warehouse.sql.dialect import DUCKDB, quoted
from topicledger.warehouse.sql.tables import Tables

SCRATCH = "topicledger_scratch_"
"""How the private folders of loads begin."""
EXTRA = ("memory_limit",)
"""The keys of the connection's Extra that are the scratch database's."""

_TEXT = ("uuid", "json")

_SORTED_ROWS = 100_000
"""So many are sorted at a time: what DuckDB sorts has to fit into its memory."""


class Scratch(DuckdbSession):
    """A DuckDB of its own, with the pipeline's tables in it, empty."""

    def __init__(self, settings: Connection, folder: Path, tables: Tables, memory: Memory) -> None:
        extra = {key: settings.extra[key] for key in EXTRA if key in settings.extra}
        own = Connection(settings.conn_id, "duckdb", extra=extra)
        # No schema can have the name of this database: a dash is in no identifier.
        super().__init__(own, folder / "topicledger-scratch.duckdb", memory, create=True)
        self.folder = folder
        # One transaction that is never committed: nothing has to reach the disk but what doesn't fit into memory.
        # Not by begin(), after which the limit couldn't follow the longest record any more.
        self.execute("BEGIN TRANSACTION")
        for statement in schema.ddl(tables, DUCKDB):
            self.execute(statement)

    def rows(self, table: str, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
        """A table's rows, by their coordinates.

        Raises:
            RetriableError: The disk is full or failing, or a repeat may use more memory.
            SettingsError: It needs more memory than it may use.
        """
        picked = ", ".join(
            f"CAST({quoted(c.name)} AS VARCHAR) AS {quoted(c.name)}" if c.type in _TEXT else quoted(c.name)
            for c in columns
        )
        for share in self._shares(table):
            with self._translated():
                relation = self._connection.sql(
                    f"SELECT {picked} FROM {table} WHERE {share} ORDER BY _kafka_partition, _kafka_offset"  # noqa: S608
                )
                # DuckDB 2 has another name for it.
                read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
                reader: pa.RecordBatchReader = read(VECTOR_ROWS)
            try:
                yield from reader
            except (pa.ArrowException, OSError) as error:
                raise self._failed(as_arrow_said(error)) from error

    def _shares(self, table: str) -> Iterator[str]:
        """Conditions that cut a table into shares of `_SORTED_ROWS`, in the order of its rows' coordinates.

        Each is a range of partitions or of one partition's offsets, so that DuckDB skips unread what lies outside.
        Where offsets are missing a share may have more rows.
        """
        together: list[int] = []
        rows = 0
        for partition, count, first, last in self.query(
            f"SELECT _kafka_partition, COUNT(*), MIN(_kafka_offset), MAX(_kafka_offset) FROM {table} "  # noqa: S608
            "GROUP BY _kafka_partition ORDER BY _kafka_partition"
        ):
            if together and rows + count > _SORTED_ROWS:
                yield f"_kafka_partition BETWEEN {together[0]} AND {together[-1]}"
                together, rows = [], 0
            if count <= _SORTED_ROWS:
                together.append(partition)
                rows += count
                continue
            width = math.ceil((last - first + 1) / math.ceil(count / _SORTED_ROWS))
            for start in range(first, last + 1, width):
                yield f"_kafka_partition = {partition} AND _kafka_offset BETWEEN {start} AND {start + width - 1}"
        if together:
            yield f"_kafka_partition BETWEEN {together[0]} AND {together[-1]}"


@contextmanager
def opened_scratch(settings: Connection, tables: Tables, memory: Memory) -> Iterator[Scratch]:
    """A scratch database in a folder that only this user may enter; both are gone when the block ends."""
    with private_folder(SCRATCH) as folder, closing(Scratch(settings, folder, tables, memory)) as scratch:
        yield scratch
