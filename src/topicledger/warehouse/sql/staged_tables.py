"""The SQL of one load: temporary tables, the inserts, and a count of its own for every term of the accounts."""
# ruff: noqa: S608 - only quoted identifiers, constants and integers are put into the text; every value is bound

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from topicledger.columns import Column
from topicledger.model.plan import OffsetRange
from topicledger.pipeline import Pipeline
from topicledger.warehouse.sql.dialect import Dialect
from topicledger.warehouse.sql.tables import (
    COORDINATES,
    JUMPS,
    STAMPED,
    Tables,
    column_ddl,
    dead_letter_columns,
)


@dataclass(frozen=True, slots=True)
class StagedTable:
    """One temporary table and the columns of the staged file that goes into it."""

    sql: str
    columns: tuple[Column, ...]


_ROWS_AT_A_TIME = 1_500_000
"""Where keys are shared out, so many are grouped or joined at a time."""


class StagedSql:
    """The statements of one load, as text. Ranges are written into them: they are integers, and many."""

    def __init__(self, pipeline: Pipeline, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._key = tuple(map(dialect.quoted, pipeline.key_columns))
        self._same_key = " AND ".join(f"t.{column} = s.{column}" for column in self._key)
        self._columns = [dialect.quoted(column.name) for column in pipeline.stored]
        self._own_columns = self._columns[: len(pipeline.columns)]
        self.rows = self._table("rows", (*pipeline.stored, *STAMPED))
        self.dead_letters = self._table("dead_letters", (*dead_letter_columns("text"), *STAMPED))
        self.tombstones = self._table("tombstones", COORDINATES)
        self.jumps = self._table("jumps", JUMPS)
        self._records = (self.rows, self.dead_letters, self.tombstones)
        self._duplicates = self._table("duplicates", COORDINATES)
        self._skipped = self._table("skipped", COORDINATES)
        declared = {column.name: column for column in pipeline.columns}
        self._repeated = self._table("repeated", tuple(declared[name] for name in pipeline.key_columns))
        # Without a key nothing is a duplicate: each row inside applied is inserted.
        self._looked_for = (self._skipped, self._repeated) if self._key and not dialect.keys else ()

    def create(self) -> tuple[str, ...]:
        """Create the temporary tables."""
        return tuple(
            f"CREATE TEMPORARY TABLE {table.sql.rpartition('.')[2]} "
            f"({', '.join(column_ddl(column, self._dialect) for column in table.columns)})"
            f"{self._dialect.temp_options}"
            for table in (*self._records, self.jumps, self._duplicates, *self._looked_for)
        )

    def statistics_of_rows(self) -> str:
        """Tell the planner how many rows were copied, and how different their keys and coordinates are."""
        columns = (*self._key, "_kafka_partition", "_kafka_offset")
        return self._dialect.statistics.format(self.rows.sql, ", ".join(columns))

    def statistics_of_duplicates(self) -> str:
        """Tell the planner how many duplicates were collected."""
        return self._dialect.statistics.format(self._duplicates.sql, "_kafka_partition, _kafka_offset")

    def count_staged(self, planned: Sequence[OffsetRange]) -> str:
        """Yield rows, dead letters, tombstones, distinct coordinates, and how many are outside the plan."""
        if not self._dialect.distinct_offsets:
            return self._count_staged_in_one_pass(planned)
        counts = " CROSS JOIN ".join(
            f"(SELECT COUNT(*) AS n FROM {table.sql}) {name}" for table, name in zip(self._records, "rdt", strict=True)
        )
        coordinates = " UNION ALL ".join(
            f"SELECT _kafka_partition, _kafka_offset FROM {table.sql}" for table in self._records
        )
        return f"""
            SELECT r.n, d.n, t.n, c.different, c.outside FROM {counts} CROSS JOIN (
                SELECT COALESCE(SUM(q.different), 0) AS different, COALESCE(SUM(q.outside), 0) AS outside FROM (
                    SELECT {self._dialect.distinct_offsets} AS different,
                           COUNT(CASE WHEN p.partition IS NULL THEN 1 END) AS outside
                    FROM ({coordinates}) s LEFT JOIN {_ranges(planned)} p ON {_inside("s", "p")}
                    GROUP BY s._kafka_partition{self._dialect.offset_blocks}
                ) q
            ) c"""

    def _count_staged_in_one_pass(self, planned: Sequence[OffsetRange]) -> str:
        """The same where values are told apart by sorting: coordinates inside the plan are numbered through."""
        kinds = [f"COUNT(CASE WHEN s.kind = {kind} THEN 1 END)" for kind in range(len(self._records))]
        coordinates = " UNION ALL ".join(
            f"SELECT {kind} AS kind, _kafka_partition, _kafka_offset FROM {table.sql}"
            for kind, table in enumerate(self._records)
        )
        return f"""
            SELECT {", ".join(kinds)},
                   COUNT(DISTINCT p.ahead + (s._kafka_offset - p.first))
                   + COUNT(DISTINCT CASE WHEN p.partition IS NULL THEN (s._kafka_partition, s._kafka_offset) END),
                   COUNT(CASE WHEN p.partition IS NULL THEN 1 END)
            FROM ({coordinates}) s LEFT JOIN {_ranges(planned)} p ON {_inside("s", "p")}"""

    def clip(self, applied: Sequence[OffsetRange]) -> tuple[str, ...]:
        """Drop the staged records outside applied, of every kind; what they drop is `already_loaded`.

        Dropped rather than joined away in each later statement: usually there is nothing to drop, and a join with
        ranges hides the tables' sizes from the planner.
        """
        return tuple(
            f"DELETE FROM {table.sql} WHERE (_kafka_partition, _kafka_offset) IN "
            f"(SELECT s._kafka_partition, s._kafka_offset FROM {table.sql} s "
            f"LEFT JOIN {_ranges(applied)} a ON {_inside('s', 'a')} WHERE a.partition IS NULL)"
            for table in self._records
        )

    def skip_rows(self, rows: int) -> tuple[str, ...]:
        """Collect the rows that aren't to be inserted, where no constraint of the table refuses them.

        Apart from the insert, and one after another: each needs memory for keys and coordinates alone, which goes to
        disk where it isn't enough, and the insert then goes through the wide rows once.

        Args:
            rows: How many were staged. Many go through this a share of their keys at a time, so that memory doesn't
                grow with them.
        """
        if not self._looked_for:
            return ()
        table, staged, key = self._tables.rows.sql, self.rows.sql, ", ".join(self._key)
        repeated = self._repeated.sql
        into = f"INSERT INTO {self._skipped.sql} SELECT s._kafka_partition, s._kafka_offset FROM"
        parts = self._shares(rows)
        return (
            *(
                f"INSERT INTO {repeated} SELECT {key} FROM {staged} s WHERE {part('s')} GROUP BY {key} "
                "HAVING COUNT(*) > 1"
                for part in parts
            ),
            f"""
            {into} (
                SELECT _kafka_partition, _kafka_offset,
                       ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY _kafka_partition, _kafka_offset) AS place
                FROM {staged} WHERE ({key}) IN (SELECT {key} FROM {repeated})
            ) s WHERE place > 1""",
            *(
                f"{into} {staged} s WHERE {part('s')} AND EXISTS "
                f"(SELECT 1 FROM {table} t WHERE {self._same_key} AND {part('t')})"
                for part in parts
            ),
        )

    def insert_rows(self, part: str = "TRUE") -> str:
        """Insert of each key the lowest coordinates, unless the table has the key; without a key all.

        Bound values: batch_id, topic_id.

        Args:
            part: Which staged records, as `between` says it.
        """
        table, staged, mark = self._tables.rows.sql, self.rows.sql, self._dialect.mark
        into = (
            f"INSERT INTO {table} "
            f"({', '.join(self._columns)}, _batch_id, _kafka_topic_id, _kafka_partition, _kafka_offset, "
            "_kafka_timestamp)"
        )
        own = ", ".join(f"s.{column}" for column in self._columns)
        picked = f"{own}, {mark}, {mark}, s._kafka_partition, s._kafka_offset, s._kafka_timestamp"
        if not self._key:
            return f"{into} SELECT {picked} FROM {staged} s WHERE {part}"
        if self._dialect.keys:
            key = ", ".join(self._key)
            # In the key's order each index page is touched once. ON CONFLICT would look up and log each row twice.
            return f"""
                {into} SELECT {picked} FROM (
                    SELECT DISTINCT ON ({key}) * FROM {staged} WHERE {part}
                    ORDER BY {key}, _kafka_partition, _kafka_offset
                ) s WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {self._same_key})"""
        return f"""
            {into} SELECT {picked} FROM {staged} s
            WHERE NOT EXISTS (
                SELECT 1 FROM {self._skipped.sql} r
                WHERE r._kafka_partition = s._kafka_partition AND r._kafka_offset = s._kafka_offset) AND {part}"""

    def insert_dead_letters(self, part: str = "TRUE") -> str:
        """Insert the dead letters. Bound values: batch_id, topic_id."""
        mark, decode = self._dialect.mark, self._dialect.decode_base64.format
        key, value = self._dialect.quoted("key"), self._dialect.quoted("value")
        return f"""
            INSERT INTO {self._tables.dead_letters.sql}
                (reason, error, {key}, {value}, headers,
                 _batch_id, _kafka_topic_id, _kafka_partition, _kafka_offset, _kafka_timestamp)
            SELECT reason, error, {decode(key)}, {decode(value)}, {self._dialect.to_json.format("headers")},
                   {mark}, {mark}, _kafka_partition, _kafka_offset, _kafka_timestamp
            FROM {self.dead_letters.sql} WHERE {part} ORDER BY _kafka_partition, _kafka_offset"""

    def collect_duplicates(self, rows: int) -> tuple[str, ...]:
        """Collect the rows whose key is in the table under other coordinates than their own; without a key none.

        Joined by the key alone: a planner that has never seen this batch takes its rows in the table for none or one,
        and with that for a condition compares every row with every other.

        Bound values: topic_id, batch_id.

        Args:
            rows: How many were staged; as in `skip_rows`.
        """
        mark = self._dialect.mark
        return tuple(
            f"""
            INSERT INTO {self._duplicates.sql}
            SELECT DISTINCT s._kafka_partition, s._kafka_offset
            FROM {self.rows.sql} s JOIN {self._tables.rows.sql} t ON {self._same_key} AND {part("t")}
            WHERE {part("s")} AND NOT (
                t._kafka_partition = s._kafka_partition AND t._kafka_offset = s._kafka_offset
                AND t._kafka_topic_id = {mark} AND t._batch_id = {mark})"""
            for part in (self._shares(rows) if self._key else ())
        )

    def count_duplicates(self) -> str:
        """Yield how many duplicates were collected."""
        return f"SELECT COUNT(*) FROM {self._duplicates.sql}"

    def count_conflicts(self) -> str:
        """Yield how many duplicates differ in a column of the pipeline from the row that won."""
        differs = " OR ".join(
            f"t.{column} IS DISTINCT FROM s.{column}" for column in self._own_columns if column not in self._key
        )
        return f"""
            SELECT COUNT(*) FROM {self._duplicates.sql} d
            JOIN {self.rows.sql} s
              ON s._kafka_partition = d._kafka_partition AND s._kafka_offset = d._kafka_offset
            JOIN {self._tables.rows.sql} t ON {self._same_key}
            WHERE {differs or "FALSE"}"""

    def count_tombstones(self) -> str:
        """Yield how many tombstones are left inside applied."""
        return f"SELECT COUNT(*) FROM {self.tombstones.sql}"

    def count_jumps(self, applied: Sequence[OffsetRange]) -> str:
        """Yield the offsets in gaps and the invisible ones, both clipped to applied."""
        first, past = "CAST(a.first AS bigint)", "CAST(a.past AS bigint)"
        start, end = (f"j.{self._dialect.quoted(name)}" for name in ("start", "end"))
        length = f"GREATEST(0, LEAST({end}, {past}) - GREATEST({start}, {first}))"
        return f"""
            SELECT COALESCE(SUM(CASE WHEN j.kind = 'gap' THEN {length} END), 0),
                   COALESCE(SUM(CASE WHEN j.kind = 'invisible' THEN {length} END), 0)
            FROM {self.jumps.sql} j JOIN {_ranges(applied)} a ON a.partition = j.partition"""

    def _shares(self, rows: int) -> list[Callable[[str], str]]:
        """Conditions on a table's alias, each of which holds for one share of all keys."""
        many = math.ceil(rows / _ROWS_AT_A_TIME)
        if many <= 1 or not self._dialect.share:
            return [lambda _: "TRUE"]

        def of(share: int) -> Callable[[str], str]:
            return lambda alias: self._dialect.share.format(
                key=", ".join(f"{alias}.{column}" for column in self._key), share=share, shares=many
            )

        return [of(share) for share in range(many)]

    def _table(self, name: str, columns: tuple[Column, ...]) -> StagedTable:
        schema = self._dialect.temp_schema
        return StagedTable(f"{schema}{'.' if schema else ''}topicledger_staged_{name}", columns)


def between(first: tuple[int, int], past: tuple[int, int]) -> str:
    """The condition on a staged record that its (partition, offset) isn't before `first`, and is before `past`."""

    def before(partition: int, offset: int) -> str:
        return f"(_kafka_partition < {partition:d} OR _kafka_partition = {partition:d} AND _kafka_offset < {offset:d})"

    return f"(NOT {before(*first)} AND {before(*past)})"


def _ranges(ranges: Sequence[OffsetRange]) -> str:
    """A derived table (partition, first, past, ahead); a join with it stays cheap with thousands of partitions.

    `ahead` is the sum of the lengths of the ranges before this one.
    """
    ahead = accumulate((r.length for r in ranges), initial=0)
    values = ", ".join(f"({r.partition:d}, {r.start:d}, {r.end:d}, {n:d})" for r, n in zip(ranges, ahead, strict=False))
    # PostgreSQL's VALUES can't be empty; the added range contains nothing.
    return f"(SELECT * FROM (VALUES {values or '(-1, 0, 0, 0)'}) AS v(partition, first, past, ahead))"


def _inside(record: str, bounds: str) -> str:
    return (
        f"{bounds}.partition = {record}._kafka_partition AND {record}._kafka_offset >= {bounds}.first "
        f"AND {record}._kafka_offset < {bounds}.past"
    )
