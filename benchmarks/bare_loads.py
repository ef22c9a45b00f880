"""The limits of the loads: what each warehouse takes the staged rows in, with nothing around it.

Each makes rows without keys that were there before: no dead letters, no ledger, no books, no checksum.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.setting import POSTGRES_PORT, POSTGRES_USER, Setting
from topicledger.columns import Column, arrow_type
from topicledger.warehouse.sql.dialect import DUCKDB, POSTGRES, Dialect
from topicledger.warehouse.sql.tables import Tables


def bare_load_duckdb(setting: Setting) -> float:
    """DuckDB alone: the staged rows from their file by `read_csv`, those whose key is there already left out."""
    import duckdb

    rows = _staged_rows(setting)
    connection = duckdb.connect(str(Path(setting.folder) / "bare.duckdb"))
    connection.execute(_create(setting, DUCKDB, "bare"))
    started = time.perf_counter()
    connection.execute(
        f"INSERT INTO bare SELECT * FROM read_csv('{rows}', header = true, allow_quoted_nulls = false) s "
        "WHERE NOT EXISTS (SELECT 1 FROM bare t WHERE t.event_id = s.event_id)"
    )
    connection.execute("CHECKPOINT")
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


def bare_load_postgres(setting: Setting) -> float:
    """PostgreSQL alone: COPY into a temporary table, then an ordered insert that leaves out what is there already."""
    import psycopg

    rows = _staged_rows(setting)
    host, name = setting.database
    place = f"host={host} port={POSTGRES_PORT} user={POSTGRES_USER} dbname={name}"
    with psycopg.connect(place) as connection:
        connection.execute(_create(setting, POSTGRES, "bare").encode())
        connection.execute(b"ALTER TABLE bare ADD UNIQUE (event_id)")
        connection.commit()
        started = time.perf_counter()
        connection.execute(b"CREATE TEMPORARY TABLE copied (LIKE bare) ON COMMIT DROP")
        with (
            rows.open("rb") as source,
            connection.cursor() as cursor,
            cursor.copy(b"COPY copied FROM STDIN (FORMAT csv, HEADER MATCH)") as copy,
        ):
            while block := source.read(256 * 1024):
                copy.write(block)
        connection.execute(b"INSERT INTO bare SELECT * FROM copied ORDER BY event_id ON CONFLICT DO NOTHING")
        connection.commit()
        return time.perf_counter() - started


def bare_load_folder(setting: Setting) -> float:
    """pyarrow alone: the staged rows from their file to one of zstd Parquet, which is synced with its folder."""
    rows, target = _staged_rows(setting), Path(setting.folder) / "bare.parquet"
    started = time.perf_counter()
    _write_parquet(rows, target, _columns(setting, DUCKDB))
    for path in (target, target.parent):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.perf_counter() - started


def bare_load_s3(setting: Setting) -> float:
    """pyarrow and boto3 alone: the same file, put by one request."""
    rows, target, client = _staged_rows(setting), Path(setting.folder) / "bare.parquet", setting.s3
    started = time.perf_counter()
    _write_parquet(rows, target, _columns(setting, DUCKDB))
    with target.open("rb") as body:
        client.put_object(Bucket=setting.bucket, Key="bare.parquet", Body=body)
    return time.perf_counter() - started


def _write_parquet(rows: Path, target: Path, columns: Sequence[Column]) -> None:
    from pyarrow import csv, parquet

    from topicledger.warehouse.lake.parquet import ROWS_PER_GROUP

    convert = csv.ConvertOptions(
        column_types={column.name: arrow_type(column.type) for column in columns},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    table = csv.read_csv(rows, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=convert)
    parquet.write_table(table, target, row_group_size=ROWS_PER_GROUP, compression="zstd")


def _staged_rows(setting: Setting) -> Path:
    rows_path, _ = json.loads(setting.handed_on.read_bytes())
    return Path(rows_path)


def _columns(setting: Setting, dialect: Dialect) -> list[Column]:
    """Just the columns that are staged."""
    columns = Tables(setting.pipeline, dialect).rows.columns
    return [column for column in columns if column.name not in ("_batch_id", "_kafka_topic_id")]


def _create(setting: Setting, dialect: Dialect, name: str) -> str:
    """A table with just these columns, and no key."""
    columns = _columns(setting, dialect)
    return f"CREATE TABLE {name} ({', '.join(f'{column.name} {dialect.type_of(column.type)}' for column in columns)})"
