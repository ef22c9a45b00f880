"""What differs between the two SQL dialects: type names, placeholders, a few functions, the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from topicledger.pipeline import ColumnType

StoredType = ColumnType | Literal["int32", "bytes", "json"]
"""A pipeline's column types, and those that only the engine's own columns have."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One warehouse's SQL, where it isn't the other's. Constants only; nothing here comes from a user.

    Args:
        default_schema: The schema of a table that is declared without one.
        mark: The placeholder of a bound value.
        temp_schema: The schema that a session's temporary tables live in.
        temp_options: What ends CREATE TEMPORARY TABLE.
        keys: Whether tables get PRIMARY KEY and UNIQUE constraints.
        types: Type names, spelled as the catalogue spells them, so that a drifted column is told by comparison.
        decode_base64: Turns base64 text into bytes.
        clock: The time now, in microseconds since 1970 when read by `micros`.
        micros: Turns a timestamp into whole microseconds since 1970.
        ignore_repeat: Ends an INSERT that must not fail when the key exists.
        statistics: Tells the planner about a temporary table that was just filled: its table and columns.
        unnest_ranges: Joins a ledger row `b` with its `applied`, as (partition, first, past).
        columns_query: Columns of all tables of a schema: table, column, type, not null, has a default.
        unique_query: Single columns with a usable unique constraint: table, column.
        schema_query: Yields a row when the schema exists.
    """

    default_schema: str
    mark: str
    temp_schema: str
    temp_options: str
    keys: bool
    types: Mapping[StoredType, str]
    decode_base64: str
    clock: str
    micros: str
    ignore_repeat: str
    statistics: str
    unnest_ranges: str
    columns_query: str
    unique_query: str
    schema_query: str


POSTGRES = Dialect(
    default_schema="public",
    mark="%s",
    temp_schema="pg_temp",
    temp_options=" ON COMMIT DROP",
    keys=True,
    types={
        "uuid": "uuid",
        "int32": "integer",
        "int64": "bigint",
        "float64": "double precision",
        "text": "text",
        "bool": "boolean",
        "timestamptz": "timestamp with time zone",
        "date": "date",
        "bytes": "bytea",
        "json": "jsonb",
    },
    decode_base64="decode({}, 'base64')",
    clock="clock_timestamp()",
    micros="CAST(extract(epoch FROM {}) * 1000000 AS bigint)",
    ignore_repeat=" ON CONFLICT DO NOTHING",
    statistics="ANALYZE {} ({})",
    unnest_ranges=(
        "CROSS JOIN LATERAL (SELECT CAST(e ->> 0 AS integer), CAST(e ->> 1 AS bigint), CAST(e ->> 2 AS bigint) "
        "FROM jsonb_array_elements(b.applied) AS e) AS a(partition, first, past)"
    ),
    columns_query="""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.atthasdef OR a.attidentity <> ''
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped""",
    unique_query="""
        SELECT c.relname, a.attname
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE n.nspname = %s AND i.indisunique AND i.indisvalid AND i.indimmediate
          AND i.indnkeyatts = 1 AND i.indpred IS NULL""",
    schema_query="SELECT 1 FROM pg_namespace WHERE nspname = %s",
)

DUCKDB = Dialect(
    default_schema="main",
    mark="?",
    temp_schema="temp",
    temp_options="",
    keys=False,  # a kill while an index is replayed is DuckDB's weak spot; anti-joins do without
    types={
        "uuid": "UUID",
        "int32": "INTEGER",
        "int64": "BIGINT",
        "float64": "DOUBLE",
        "text": "VARCHAR",
        "bool": "BOOLEAN",
        "timestamptz": "TIMESTAMP WITH TIME ZONE",
        "date": "DATE",
        "bytes": "BLOB",
        "json": "JSON",
    },
    decode_base64="from_base64({})",
    clock="get_current_timestamp()",
    micros="epoch_us({})",
    ignore_repeat="",
    statistics="",
    unnest_ranges=(
        "CROSS JOIN LATERAL (SELECT r[1], r[2], r[3] "
        "FROM (SELECT unnest(CAST(b.applied AS BIGINT[][])) AS r)) AS a(partition, first, past)"
    ),
    columns_query="""
        SELECT table_name, column_name, data_type, NOT is_nullable, column_default IS NOT NULL
        FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = ?""",
    unique_query="SELECT '', '' WHERE ? IS NULL",
    schema_query=("SELECT 1 FROM duckdb_schemas() WHERE database_name = current_database() AND schema_name = ?"),
)


def quoted(identifier: str) -> str:
    """Quote one identifier, so that reserved words and upper case mean themselves."""
    return '"' + identifier.replace('"', '""') + '"'
