"""The ledger's SQL: position rows, batch rows, and the sums that must agree with them."""
# ruff: noqa: S608 - only quoted identifiers and constants are put into the text; every value is bound

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NoReturn

import msgspec

from topicledger.columns import Column
from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.accounts import Accounts, PartitionBooks
from topicledger.model.ledger import LedgerRow, Loaded
from topicledger.model.manifest import Acceptance, Manifest
from topicledger.model.plan import OffsetRange, Position, Receipt
from topicledger.warehouse.sql.dialect import Dialect
from topicledger.warehouse.sql.session import Session
from topicledger.warehouse.sql.tables import BATCHES, POSITIONS, Table, Tables

_IN_ONE_STATEMENT = 1_000
"""How many position rows one statement writes at most."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_JSON: dict[str, Any] = {
    "planned": tuple[OffsetRange, ...],
    "applied": tuple[OffsetRange, ...],
    "manifest": Manifest | Acceptance,
    "receipt": Receipt,
    "accounts": Accounts,
}


class LedgerTables:
    """Reads and writes one target's ledger in whatever transaction the session has open."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._batch_columns = ", ".join(self._readable(column) for column in BATCHES)
        self._position_columns = ", ".join(dialect.quoted(column.name) for column in POSITIONS[1:])

    def positions(self, session: Session, topic: str | None = None) -> tuple[Position, ...]:
        """The target's position rows, of one topic or of all."""
        sql = f"SELECT {self._position_columns} FROM {self._tables.positions.sql} WHERE target = {self._dialect.mark}"
        values = [self._tables.target]
        if topic is not None:
            sql += f" AND topic = {self._dialect.mark}"
            values.append(topic)
        return tuple(Position(*row) for row in session.query(f"{sql} ORDER BY topic_id, partition", values))

    def other_targets(self, session: Session, topic: str) -> tuple[Loaded, ...]:
        """Which other targets a topic was loaded into, by pipelines of which names."""
        mark = self._dialect.mark
        rows = session.query(
            f"SELECT DISTINCT pipeline, target FROM {self._tables.batches.sql} "
            f"WHERE topic = {mark} AND target <> {mark} ORDER BY pipeline, target",
            (topic, self._tables.target),
        )
        return tuple(Loaded(*row) for row in rows)

    def add_positions(self, session: Session, positions: Sequence[Position]) -> None:
        """Insert the position rows whose key isn't there, and read them back.

        Raises:
            IntegrityError: One isn't there after that, or isn't what was inserted.
        """
        written = 0
        table, mark, type_of = self._tables.positions.sql, self._dialect.mark, self._dialect.type_of
        casts = ", ".join(
            [f"CAST({mark} AS {type_of(column.type)})" for column in POSITIONS[:3]]
            + [f"CAST(new_{column.name} AS {type_of(column.type)})" for column in POSITIONS[3:]]
        )
        new = ", ".join(f"new_{column.name}" for column in POSITIONS[3:])
        for part in _parts(positions):
            values = _values((p.partition, p.origin, p.position, p.leader_epoch, p.generation) for p in part)
            key = (self._tables.target, part[0].topic_id)
            # One order for all sessions, so that two planners can't wait for each other in a circle.
            written += session.execute(
                f"INSERT INTO {table} (target, {self._position_columns}) SELECT {casts} "
                f"FROM (SELECT * FROM (VALUES {values}) AS v({new})) n WHERE NOT EXISTS (SELECT 1 FROM {table} "
                f"WHERE target = {mark} AND topic_id = {mark} AND partition = new_partition) "
                f"ORDER BY new_partition{self._dialect.ignore_repeat}",
                (self._tables.target, part[0].topic, part[0].topic_id, *key),
            )
        # Those of another planner, who was first, may be others.
        self._require_stored(session, positions, ours=written == len(positions))

    def advance(self, session: Session, positions: Sequence[Position]) -> None:
        """Set position and leader epoch of rows that must be there, by one statement: where one takes long, many do."""
        mark, type_of = self._dialect.mark, self._dialect.type_of
        for part in _parts(positions):
            values = _values((p.partition, p.position, p.leader_epoch) for p in part)
            written = session.execute(
                f"UPDATE {self._tables.positions.sql} SET position = CAST(new_position AS {type_of('int64')}), "
                f"leader_epoch = CAST(new_leader_epoch AS {type_of('int32')}) "
                f"FROM (SELECT * FROM (VALUES {values}) AS v(new_partition, new_position, new_leader_epoch)) n "
                f"WHERE target = {mark} AND topic_id = {mark} AND partition = new_partition",
                (self._tables.target, part[0].topic_id),
            )
            if written != len(part):
                self._require_one_each(session, part, written)

    def _require_one_each(self, session: Session, part: Sequence[Position], written: int) -> NoReturn:
        there = Counter((p.topic_id, p.partition) for p in self.positions(session))
        odd = next((p for p in part if there[p.topic_id, p.partition] != 1), None)
        if odd is None:
            raise _kept_out(self._tables.positions, f"{written} of {len(part)} rows were updated")
        raise IntegrityError(
            f"the ledger has {there[odd.topic_id, odd.partition]} rows for {self._tables.target}, partition "
            f"{odd.partition}, topic id {odd.topic_id}; it must have one, and {written} of {len(part)} rows were "
            "written. Nothing was committed",
            code="ledger-rows-wrong",
            topic=odd.topic,
            partition=odd.partition,
        )

    def set_back(self, session: Session, before: Position, after: Position) -> None:
        """Replace a position row that must still be `before`, and read it back.

        Raises:
            RetriableError: It no longer is.
            IntegrityError: It doesn't become `after`.
        """
        mark = self._dialect.mark
        written = session.execute(
            f"UPDATE {self._tables.positions.sql} "
            f"SET position = {mark}, leader_epoch = {mark}, generation = {mark} "
            f"WHERE target = {mark} AND topic_id = {mark} AND partition = {mark} AND origin = {mark} "
            f"AND position = {mark} AND generation = {mark} AND leader_epoch IS NOT DISTINCT FROM {mark}",
            (
                *(after.position, after.leader_epoch, after.generation),
                *(self._tables.target, before.topic_id, before.partition, before.origin),
                *(before.position, before.generation, before.leader_epoch),
            ),
        )
        if written != 1 and before not in self.positions(session):
            raise RetriableError(
                f"partition {before.partition} of {before.topic} moved on from position {before.position} "
                "while its truncation was being accepted: plan again",
                code="truncation-raced",
                topic=before.topic,
                partition=before.partition,
            )
        self._require_stored(session, (after,))

    def add_batch(self, session: Session, row: LedgerRow) -> bool:
        """Insert a ledger row, with the warehouse's clock, unless its key is there.

        Returns:
            Whether it was inserted.

        Raises:
            IntegrityError: It wasn't, and isn't there either.
        """
        table, mark, type_of = self._tables.batches.sql, self._dialect.mark, self._dialect.type_of
        columns = ", ".join(self._dialect.quoted(column.name) for column in BATCHES)
        marks = ", ".join(
            self._dialect.to_json.format(mark) if column.type == "json" else f"CAST({mark} AS {type_of(column.type)})"
            for column in BATCHES[:-1]
        )
        written = session.execute(
            f"INSERT INTO {table} ({columns}) SELECT {marks}, {self._dialect.clock} WHERE NOT EXISTS "
            f"(SELECT 1 FROM {table} WHERE batch_id = {mark} AND plan_id = {mark}){self._dialect.ignore_repeat}",
            (
                *(_stored(column, getattr(row, column.name)) for column in BATCHES[:-1]),
                row.batch_id,
                row.plan_id,
            ),
        )
        if written != 1 and self.batch(session, row.batch_id, row.plan_id) is None:
            raise _kept_out(self._tables.batches, f"there is no row of batch {row.batch_id}")
        return written == 1

    def batch(self, session: Session, batch_id: str, plan_id: str) -> LedgerRow | None:
        """The ledger row of this key, of this target."""
        mark = self._dialect.mark
        rows = session.query(
            f"SELECT {self._batch_columns} FROM {self._tables.batches.sql} "
            f"WHERE batch_id = {mark} AND plan_id = {mark} AND target = {mark}",
            (batch_id, plan_id, self._tables.target),
        )
        return _ledger_row(rows[0]) if rows else None

    def history(self, session: Session, limit: int) -> tuple[LedgerRow, ...]:
        """The target's newest ledger rows, newest first."""
        mark = self._dialect.mark
        rows = session.query(
            f"SELECT {self._batch_columns} FROM {self._tables.batches.sql} WHERE target = {mark} "
            f"ORDER BY loaded_at DESC, batch_id, plan_id LIMIT {limit:d}",
            (self._tables.target,),
        )
        return tuple(_ledger_row(row) for row in rows)

    def books(self, session: Session) -> tuple[PartitionBooks, ...]:
        """Each partition's position row beside the sum of the lengths of all `applied` of the target."""
        mark = self._dialect.mark
        rows = session.query(
            f"""
            SELECT p.topic_id, p.partition, p.origin, p.position, COALESCE(s.applied, 0)
            FROM {self._tables.positions.sql} p
            LEFT JOIN (
                SELECT a.topic_id, a.partition, SUM(a.past - a.first) AS applied
                FROM ({self._dialect.applied_ranges.format(batches=self._tables.batches.sql)}) a
                GROUP BY a.topic_id, a.partition
            ) s ON s.topic_id = p.topic_id AND s.partition = p.partition
            WHERE p.target = {mark}
            ORDER BY p.topic_id, p.partition""",
            (self._tables.target, self._tables.target),
        )
        return tuple(
            PartitionBooks(topic_id, partition, origin, position, int(applied))
            for topic_id, partition, origin, position, applied in rows
        )

    def _require_stored(self, session: Session, positions: Sequence[Position], *, ours: bool = True) -> None:
        """Read back, in the transaction that wrote them, what the next step relies on."""
        there = {(p.topic_id, p.partition): p for p in self.positions(session)}
        for position in positions:
            stored = there.get((position.topic_id, position.partition))
            if stored is None or (ours and stored != position):
                found = "nothing" if stored is None else f"origin {stored.origin}, position {stored.position}"
                raise _kept_out(
                    self._tables.positions,
                    f"partition {position.partition} of {position.topic} was written with origin {position.origin}, "
                    f"position {position.position}, and read back is {found}",
                )

    def _readable(self, column: Column) -> str:
        name = self._dialect.quoted(column.name)
        if column.type == "json":
            return self._dialect.from_json.format(name)
        return self._dialect.micros.format(name) if column.type == "timestamptz" else name


def _kept_out(table: Table, found: str) -> IntegrityError:
    return IntegrityError(
        f"table {table.schema}.{table.name} doesn't keep what is written to it: {found}. Nothing was committed; remove "
        "the trigger, rule or policy that does that",
        code="table-loses-writes",
        repeat="step",
    )


def _parts(positions: Sequence[Position]) -> Iterator[list[Position]]:
    """Positions of one topic at a time, in one order, no more than one statement takes."""
    ordered = sorted(positions, key=lambda p: (p.topic_id, p.topic, p.partition))
    for _, group in groupby(ordered, key=lambda p: (p.topic_id, p.topic)):
        of_topic = list(group)
        for first in range(0, len(of_topic), _IN_ONE_STATEMENT):
            yield of_topic[first : first + _IN_ONE_STATEMENT]


def _values(rows: Iterable[Sequence[int | None]]) -> str:
    """Whole numbers as the rows of a VALUES."""
    return ", ".join(f"({', '.join('NULL' if value is None else f'{value:d}' for value in row)})" for row in rows)


def _stored(column: Column, value: object) -> object:
    if column.type != "json" or value is None:
        return value
    return msgspec.json.encode(value).decode()


def _ledger_row(row: Sequence[Any]) -> LedgerRow:
    fields = dict(zip((column.name for column in BATCHES), row, strict=True))
    for name, kind in _JSON.items():
        fields[name] = None if fields[name] is None else msgspec.json.decode(fields[name], type=kind)
    fields["loaded_at"] = _EPOCH + dt.timedelta(microseconds=fields["loaded_at"])
    return LedgerRow(**fields)
