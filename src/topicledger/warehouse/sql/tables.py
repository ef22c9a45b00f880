"""The tables of a pipeline: their columns, their DDL, and the comparison with what is really there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topicledger.columns import Column
from topicledger.errors import IntegrityError
from topicledger.model.ledger import SCHEMA_VERSION
from topicledger.pipeline import Pipeline
from topicledger.warehouse.sql.dialect import Dialect, quoted


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """One column as the catalogue describes it."""

    type: str
    nullable: bool
    has_default: bool


COORDINATES = (Column("_kafka_partition", "int32"), Column("_kafka_offset", "int64"))
"""Where a record came from, as staged."""

STAMPED = (*COORDINATES, Column("_kafka_timestamp", "timestamptz", nullable=True))
"""The coordinates of a staged row or dead letter, and Kafka's timestamp."""

OWN = (Column("_batch_id", "text"), Column("_kafka_topic_id", "text"), *STAMPED)
"""The engine's columns at the end of the rows and of the dead letters."""

JUMPS = (
    Column("partition", "int32"),
    Column("start", "int64"),
    Column("end", "int64"),
    Column("kind", "text"),
)
"""The staged intervals without a record."""

POSITIONS = (
    Column("target", "text"),
    Column("topic", "text"),
    Column("topic_id", "text"),
    Column("partition", "int32"),
    Column("origin", "int64"),
    Column("position", "int64"),
    Column("leader_epoch", "int32", nullable=True),
    Column("generation", "int32"),
)

BATCHES = (
    Column("batch_id", "text"),
    Column("plan_id", "text"),
    Column("pipeline", "text"),
    Column("target", "text"),
    Column("run_id", "text"),
    Column("topic", "text"),
    Column("topic_id", "text"),
    Column("planned", "json"),
    Column("applied", "json"),
    Column("manifest", "json"),
    Column("receipt", "json", nullable=True),
    Column("accounts", "json", nullable=True),
    Column("sha256", "text"),
    Column("loaded_at", "timestamptz"),
)


def dead_letter_columns(payload: str) -> tuple[Column, ...]:
    """The columns of a dead letter before its coordinates.

    Args:
        payload: `bytes` in the table, `text` (base64) as staged.
    """
    return (
        Column("reason", "text"),
        Column("error", "text"),
        Column("key", payload, nullable=True),
        Column("value", payload, nullable=True),
        Column("headers", "json" if payload == "bytes" else "text", nullable=True),
    )


@dataclass(frozen=True, slots=True)
class Table:
    """One table: where it is, its columns in order, and what is unique in it."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    constraint: str = "PRIMARY KEY"

    @property
    def sql(self) -> str:
        """Its quoted, qualified name."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def ddl(self, dialect: Dialect) -> str:
        """The statement that creates it."""
        lines = [column_ddl(column, dialect) for column in self.columns]
        if self.key and dialect.keys:
            lines.append(f"{self.constraint} ({', '.join(map(dialect.quoted, self.key))})")
        # Where DDL commits, two that create at once don't wait for each other: the first table stays.
        create = "CREATE TABLE IF NOT EXISTS" if dialect.ddl_commits else "CREATE TABLE"
        return f"{create} {self.sql} (\n    " + ",\n    ".join(lines) + "\n)"


class Tables:
    """A pipeline's tables. The ledger's are shared by all pipelines whose rows are in the same schema.

    `topicledger_schema` has one row, the version of the ledger tables' columns; an upgrade reads it, and in
    DuckDB and Snowflake writers update it to exclude each other.
    """

    def __init__(self, pipeline: Pipeline, dialect: Dialect) -> None:
        schema, _, name = pipeline.table.rpartition(".")
        schema, name = dialect.name(schema or dialect.default_schema), dialect.name(name)
        self.schema = schema
        self.target = f"{schema}.{name}"
        beside = dialect.name
        self.rows = Table(schema, name, (*pipeline.stored, *OWN), pipeline.key_columns, "UNIQUE")
        self.dead_letters = Table(schema, beside(f"{name}_dead_letters"), (*dead_letter_columns("bytes"), *OWN))
        self.positions = Table(schema, beside("topicledger_positions"), POSITIONS, ("target", "topic_id", "partition"))
        self.batches = Table(schema, beside("topicledger_batches"), BATCHES, ("batch_id", "plan_id"))
        # What is created with its row in one statement has no constraint.
        version = Column("version", "int32", nullable=dialect.ddl_commits)
        self.version = Table(schema, beside("topicledger_schema"), (version,), ("version",))
        self.all = (self.rows, self.dead_letters, self.positions, self.batches, self.version)

    @property
    def insert_version(self) -> str:
        """The statement that records the version of a ledger that was just created."""
        return f"INSERT INTO {self.version.sql} VALUES ({SCHEMA_VERSION})"  # noqa: S608 - constants

    def ddl(self, dialect: Dialect, missing: frozenset[str] | None = None) -> tuple[str, ...]:
        """The statements that create these tables, in order.

        Args:
            dialect: The warehouse's dialect.
            missing: Names of the tables to create; None for all.
        """
        wanted = [table for table in self.all if missing is None or table.name in missing]
        if self.version not in wanted:
            return tuple(table.ddl(dialect) for table in wanted)
        others = (table.ddl(dialect) for table in wanted if table != self.version)
        if dialect.ddl_commits:
            return (*others, self._create_with_version(dialect))
        return (*others, self.version.ddl(dialect), self.insert_version)

    def spelled(self, dialect: Dialect) -> tuple[tuple[str, str], ...]:
        """Names and types of the rows table's columns, as the catalogue spells them."""
        return tuple((dialect.name(column.name), dialect.type_of(column.type)) for column in self.rows.columns)

    def _create_with_version(self, dialect: Dialect) -> str:
        """The statement that creates the version's table with its row: a kill in between would leave it empty."""
        (column,) = self.version.columns
        return (
            f"CREATE TABLE IF NOT EXISTS {self.version.sql} AS "
            f"SELECT CAST({SCHEMA_VERSION} AS {dialect.type_of(column.type)}) AS {dialect.quoted(column.name)}"
        )


def column_ddl(column: Column, dialect: Dialect) -> str:
    """One column's definition in a CREATE TABLE."""
    not_null = "" if column.nullable else " NOT NULL"
    return f"{dialect.quoted(column.name)} {dialect.type_of(column.type)}{not_null}"


def require_columns(table: Table, found: Mapping[str, FoundColumn], dialect: Dialect) -> None:
    """Do nothing when the table takes and gives what the pipeline declares; further columns may be nullable.

    Raises:
        IntegrityError: It names every column that is missing, has another type or another nullability.
    """
    problems = [_drift(column, found.get(dialect.name(column.name)), dialect) for column in table.columns]
    declared = {dialect.name(column.name) for column in table.columns}
    problems += [
        f"{name} is not declared and is NOT NULL without a default"
        for name, column in found.items()
        if name not in declared and not column.nullable and not column.has_default
    ]
    named = [problem for problem in problems if problem]
    if named:
        raise IntegrityError(
            f"table {table.schema}.{table.name} is not as the pipeline declares it: {'; '.join(named)}. "
            "Nothing was changed; migrate the table or the declaration",
            code="table-differs",
            repeat="step",
        )


def _drift(column: Column, found: FoundColumn | None, dialect: Dialect) -> str | None:
    expected = dialect.type_of(column.type)
    if found is None:
        return f"column {column.name} ({expected}) is missing" + (
            "" if column.nullable or column in OWN else ", and is added only where it is declared nullable"
        )
    if found.type != expected:
        return f"column {column.name} is {found.type}, not {expected}"
    if found.nullable != column.nullable:
        return f"column {column.name} is {'' if found.nullable else 'not '}nullable, declared otherwise"
    return None
