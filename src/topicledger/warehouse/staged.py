"""The SQL of one load: temporary tables, the inserts, and a count of its own for every term of the accounts."""
# ruff: noqa: S608 - only quoted identifiers, constants and integers are put into the text; every value is bound

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topicledger.model.plan import OffsetRange
from topicledger.pipeline import Pipeline
from topicledger.warehouse.dialect import Dialect, quoted
from topicledger.warehouse.tables import (
    COORDINATES,
    JUMPS,
    STAMPED,
    StoredColumn,
    Tables,
    column_ddl,
    dead_letter_columns,
)


@dataclass(frozen=True, slots=True)
class StagedTable:
    """One temporary table and the columns of the staged file that goes into it."""

    sql: str
    columns: tuple[StoredColumn, ...]


class StagedSql:
    """The statements of one load, as text. Ranges are written into them: they are integers, and many."""

    def __init__(self, pipeline: Pipeline, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._key = quoted(pipeline.key)
        self._columns = [quoted(column.name) for column in pipeline.columns]
        own = tuple(StoredColumn(c.name, c.type, c.nullable) for c in pipeline.columns)
        self.rows = self._table("rows", (*own, *STAMPED))
        self.dead_letters = self._table("dead_letters", (*dead_letter_columns("text"), *STAMPED))
        self.tombstones = self._table("tombstones", COORDINATES)
        self.jumps = self._table("jumps", JUMPS)

    def create(self) -> tuple[str, ...]:
        """Create the temporary tables."""
        return tuple(
            f"CREATE TEMPORARY TABLE {table.sql.rpartition('.')[2]} "
            f"({', '.join(column_ddl(column, self._dialect) for column in table.columns)})"
            f"{self._dialect.temp_options}"
            for table in (self.rows, self.dead_letters, self.tombstones, self.jumps)
        )

    def count_staged(self, planned: Sequence[OffsetRange]) -> str:
        """Yield rows, dead letters, tombstones, distinct coordinates, and how many are outside the plan."""
        return f"""
            SELECT COALESCE(SUM(c.rows), 0), COALESCE(SUM(c.dead_letters), 0), COALESCE(SUM(c.tombstones), 0),
                   COUNT(*),
                   COALESCE(SUM(c.rows + c.dead_letters + c.tombstones) FILTER (WHERE p.partition IS NULL), 0)
            FROM (
                SELECT _kafka_partition, _kafka_offset, COUNT(*) FILTER (WHERE kind = 1) AS rows,
                       COUNT(*) FILTER (WHERE kind = 2) AS dead_letters,
                       COUNT(*) FILTER (WHERE kind = 3) AS tombstones
                FROM ({self._all_coordinates()}) s GROUP BY _kafka_partition, _kafka_offset
            ) c LEFT JOIN {_ranges(planned)} p ON {_inside("c", "p")}"""

    def insert_rows(self, applied: Sequence[OffsetRange]) -> str:
        """Insert of each key the lowest coordinates inside applied, unless the table has the key.

        Bound values: batch_id, topic_id.
        """
        columns, mark = ", ".join(self._columns), self._dialect.mark
        picked = ", ".join(f"s.{column}" for column in self._columns)
        source = f"{self.rows.sql} s JOIN {_ranges(applied)} a ON {_inside('s', 'a')}"
        into = (
            f"INSERT INTO {self._tables.rows.sql} "
            f"({columns}, _batch_id, _kafka_topic_id, _kafka_partition, _kafka_offset, _kafka_timestamp)"
        )
        select = (
            f"{picked}, {mark}, {mark}, s._kafka_partition, s._kafka_offset, s._kafka_timestamp FROM {source}"
        )
        if self._dialect.keys:
            # Inserting in the key's order touches each index page once.
            return (
                f"{into} SELECT DISTINCT ON (s.{self._key}) {select} "
                f"ORDER BY s.{self._key}, s._kafka_partition, s._kafka_offset ON CONFLICT ({self._key}) DO NOTHING"
            )
        return f"""
            {into} SELECT {select}
            WHERE NOT EXISTS (SELECT 1 FROM {self._tables.rows.sql} t WHERE t.{self._key} = s.{self._key})
              AND NOT EXISTS (
                SELECT 1 FROM ({self._repeated(source)}) r
                WHERE r._kafka_partition = s._kafka_partition AND r._kafka_offset = s._kafka_offset)"""

    def insert_dead_letters(self, applied: Sequence[OffsetRange]) -> str:
        """Insert the dead letters inside applied. Bound values: batch_id, topic_id."""
        mark, decode, json = self._dialect.mark, self._dialect.decode_base64, self._dialect.types["json"]
        return f"""
            INSERT INTO {self._tables.dead_letters.sql}
                (reason, error, "key", "value", headers,
                 _batch_id, _kafka_topic_id, _kafka_partition, _kafka_offset, _kafka_timestamp)
            SELECT s.reason, s.error, {decode.format('s."key"')}, {decode.format('s."value"')},
                   CAST(s.headers AS {json}), {mark}, {mark}, s._kafka_partition, s._kafka_offset, s._kafka_timestamp
            FROM {self.dead_letters.sql} s JOIN {_ranges(applied)} a ON {_inside("s", "a")}
            ORDER BY s._kafka_partition, s._kafka_offset"""

    def count_already_loaded(self, applied: Sequence[OffsetRange]) -> str:
        """Yield how many staged records, of every kind, lie outside applied."""
        return f"""
            SELECT COUNT(*) FROM ({self._all_coordinates()}) s
            LEFT JOIN {_ranges(applied)} a ON {_inside("s", "a")} WHERE a.partition IS NULL"""

    def count_tombstones(self, applied: Sequence[OffsetRange]) -> str:
        """Yield how many tombstones lie inside applied."""
        return (
            f"SELECT COUNT(*) FROM {self.tombstones.sql} s JOIN {_ranges(applied)} a ON {_inside('s', 'a')}"
        )

    def count_jumps(self, applied: Sequence[OffsetRange]) -> str:
        """Yield the offsets in gaps and the invisible ones, both clipped to applied."""
        length = (
            'GREATEST(0, LEAST(j."end", CAST(a.past AS bigint)) - GREATEST(j.start, CAST(a.first AS bigint)))'
        )
        return f"""
            SELECT COALESCE(SUM({length}) FILTER (WHERE j.kind = 'gap'), 0),
                   COALESCE(SUM({length}) FILTER (WHERE j.kind = 'invisible'), 0)
            FROM {self.jumps.sql} j JOIN {_ranges(applied)} a ON a.partition = j.partition"""

    def count_duplicates(self, applied: Sequence[OffsetRange]) -> str:
        """Yield how many rows inside applied aren't in the table under their own coordinates.

        Bound values: topic_id, batch_id.
        """
        mark = self._dialect.mark
        return f"""
            SELECT COUNT(*) FROM {self.rows.sql} s JOIN {_ranges(applied)} a ON {_inside("s", "a")}
            WHERE NOT EXISTS (
                SELECT 1 FROM {self._tables.rows.sql} t
                WHERE t.{self._key} = s.{self._key} AND t._kafka_partition = s._kafka_partition
                  AND t._kafka_offset = s._kafka_offset AND t._kafka_topic_id = {mark} AND t._batch_id = {mark})"""

    def count_conflicts(self, applied: Sequence[OffsetRange]) -> str:
        """Yield how many of the duplicates differ in a column of the pipeline from the row that won.

        Bound values: topic_id, batch_id.
        """
        mark = self._dialect.mark
        differs = " OR ".join(
            f"t.{column} IS DISTINCT FROM s.{column}" for column in self._columns if column != self._key
        )
        return f"""
            SELECT COUNT(*) FROM {self.rows.sql} s JOIN {_ranges(applied)} a ON {_inside("s", "a")}
            JOIN {self._tables.rows.sql} t ON t.{self._key} = s.{self._key}
            WHERE NOT (t._kafka_partition = s._kafka_partition AND t._kafka_offset = s._kafka_offset
                       AND t._kafka_topic_id = {mark} AND t._batch_id = {mark})
              AND ({differs or "FALSE"})"""

    def _table(self, name: str, columns: tuple[StoredColumn, ...]) -> StagedTable:
        return StagedTable(f"{self._dialect.temp_schema}.topicledger_staged_{name}", columns)

    def _all_coordinates(self) -> str:
        tables = (self.rows, self.dead_letters, self.tombstones)
        return " UNION ALL ".join(
            f"SELECT _kafka_partition, _kafka_offset, {kind} AS kind FROM {table.sql}"
            for kind, table in enumerate(tables, start=1)
        )

    def _repeated(self, source: str) -> str:
        """The coordinates inside applied whose key has lower ones there too; narrow, because they are few."""
        return f"""
            SELECT _kafka_partition, _kafka_offset FROM (
                SELECT s._kafka_partition, s._kafka_offset, ROW_NUMBER() OVER (
                    PARTITION BY s.{self._key} ORDER BY s._kafka_partition, s._kafka_offset) AS place
                FROM {source} WHERE s.{self._key} IN (
                    SELECT s.{self._key} FROM {source} GROUP BY s.{self._key} HAVING COUNT(*) > 1)
            ) n WHERE place > 1"""


def _ranges(ranges: Iterable[OffsetRange]) -> str:
    """A derived table (partition, first, past); a join with it stays cheap with thousands of partitions."""
    values = ", ".join(f"({r.partition:d}, {r.start:d}, {r.end:d})" for r in ranges)
    # PostgreSQL's VALUES can't be empty; the added range contains nothing.
    return f"(SELECT * FROM (VALUES {values or '(-1, 0, 0)'}) AS v(partition, first, past))"


def _inside(record: str, bounds: str) -> str:
    return (
        f"{bounds}.partition = {record}._kafka_partition AND {record}._kafka_offset >= {bounds}.first "
        f"AND {record}._kafka_offset < {bounds}.past"
    )
