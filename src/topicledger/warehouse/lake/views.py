"""Views of the log and its files in DuckDB, for people: they have the SQL warehouses' names and columns.

Nothing in the engine reads through them. A file that isn't in the log isn't in a view.
"""
# ruff: noqa: S608 - only quoted names and literals, and constants, are put into the text

from __future__ import annotations

from collections.abc import Mapping

from topicledger.columns import Column
from topicledger.warehouse.lake.log import LOGS
from topicledger.warehouse.sql.dialect import DUCKDB, quoted
from topicledger.warehouse.sql.tables import BATCHES, POSITIONS, Table, Tables

_FILES = "{'sequence': 'BIGINT', 'files': 'STRUCT(kind VARCHAR, name VARCHAR)[]'}"


def folders(tables: Tables) -> Mapping[str, str]:
    """Where the files of each kind lie: `<table>`, or `<schema>.<table>` outside of the default schema."""
    schema = "" if tables.schema == DUCKDB.default_schema else f"{tables.schema}."
    return {"rows": schema + tables.rows.name, "dead_letters": schema + tables.dead_letters.name}


def ddl(location: str, tables: Tables) -> tuple[str, ...]:
    """The statements that make the views.

    Args:
        location: Where files and log lie.
        tables: The pipeline's tables.
    """
    log = f"{location}/{LOGS}/{tables.target}/*.json"
    logs = f"{location}/{LOGS}/{tables.schema}.*/*.json"
    files = {kind: f"{location}/{folder}/*.parquet" for kind, folder in folders(tables).items()}
    loaded = f"{quoted(tables.schema)}.{quoted(tables.rows.name + '_loaded')}"
    views = (
        (tables.batches.sql, _batches(logs)),
        (tables.positions.sql, _positions(logs)),
        (loaded, _logged(tables.rows, files["rows"], log, "rows", ", f._sequence")),
        (tables.rows.sql, _first_of_each(tables.rows.key, loaded)),
        (tables.dead_letters.sql, _logged(tables.dead_letters, files["dead_letters"], log, "dead_letters", "")),
    )
    schema = f"CREATE SCHEMA IF NOT EXISTS {quoted(tables.schema)}"
    return (schema, *(f"CREATE OR REPLACE VIEW {name} AS\n{query}" for name, query in views))


def _first_of_each(key: tuple[str, ...], loaded: str) -> str:
    everything = f"SELECT * EXCLUDE (_sequence) FROM {loaded}"
    if not key:
        return everything
    return (
        f"{everything}\nQUALIFY ROW_NUMBER() OVER (\n    PARTITION BY {', '.join(map(quoted, key))} "
        "ORDER BY _sequence, _kafka_partition, _kafka_offset\n) = 1"
    )


def _batches(logs: str) -> str:
    picked = ",\n    ".join(f"{_field(column)} AS {column.name}" for column in BATCHES)
    return (
        f"SELECT\n    {picked}\n"
        f"FROM read_json(\n    {_literal(logs)}, columns = {{'row': 'JSON'}}\n)\nWHERE \"row\" IS NOT NULL"
    )


def _field(column: Column) -> str:
    if column.type == "json":
        # JSON's null is a value; a table's is none.
        return f"NULLIF(\"row\" -> '{column.name}', CAST('null' AS JSON))"
    text = f"\"row\" ->> '{column.name}'"
    return text if column.type == "text" else f"CAST({text} AS {DUCKDB.type_of(column.type)})"


def _positions(logs: str) -> str:
    fields = [column for column in POSITIONS if column.name != "target"]
    picked = ", ".join(f"p.{column.name}" for column in fields)
    shape = ", ".join(f"{column.name} {DUCKDB.type_of(column.type)}" for column in fields)
    return (
        f"SELECT target, {picked}\n"
        "FROM (\n    SELECT target, unnest(positions) AS p FROM (\n"
        "        SELECT target, arg_max(positions, sequence) AS positions\n"
        f"        FROM read_json(\n            {_literal(logs)},\n"
        f"            columns = {{'target': 'VARCHAR', 'sequence': 'BIGINT', 'positions':\n"
        f"                'STRUCT({shape})[]'}}\n"
        "        )\n        GROUP BY target\n    )\n)"
    )


def _logged(table: Table, files: str, log: str, kind: str, more: str) -> str:
    casts = [c for c in table.columns if c.type in ("uuid", "json")]
    replaced = ", ".join(f"CAST({quoted(c.name)} AS {DUCKDB.type_of(c.type)}) AS {quoted(c.name)}" for c in casts)
    return (
        f"SELECT d.* EXCLUDE (_file){f' REPLACE ({replaced})' if replaced else ''}{more}\n"
        f"FROM read_parquet(\n    {_literal(files)},\n"
        "    union_by_name = true, hive_partitioning = false, filename = '_file'\n) d\n"
        "JOIN (\n    SELECT _sequence, file.name FROM (\n"
        "        SELECT sequence AS _sequence, unnest(files) AS file\n"
        f"        FROM read_json(\n            {_literal(log)},\n            columns = {_FILES}\n        )\n"
        f"    ) WHERE file.kind = '{kind}'\n) f ON parse_filename(d._file) = f.name"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
