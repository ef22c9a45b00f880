"""A warehouse with a past: batches and rows of an earlier topic, made by SQL beside the tables of the product."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import duckdb
import msgspec
import psycopg

from benchmarks.ground import PARTITIONS
from benchmarks.setting import Setting
from topicledger.columns import Column
from topicledger.model.accounts import Accounts
from topicledger.model.identity import CONTRACT_VERSION
from topicledger.model.manifest import Manifest, StagedFile, StagedPart, StagedPartition
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.sql.dialect import DUCKDB, POSTGRES, Dialect
from topicledger.warehouse.sql.tables import Table, Tables

BATCHES = 5_000
ROWS_A_BATCH = 10_000
_TOPIC_ID = "b2xkZXIgdG9waWMgaWQ"

Run = Callable[[str, Sequence[Any]], object]


def age(setting: Setting, batches: int = BATCHES, rows_a_batch: int = ROWS_A_BATCH) -> float:
    """Give the warehouse so many batches of a topic that was there before; the books of the target close."""
    started = time.perf_counter()
    with closing(open_warehouse(setting.place, setting.pipeline)) as warehouse:
        warehouse.ensure_tables()
    each = rows_a_batch // PARTITIONS
    if setting.kind == "duckdb":
        with closing(duckdb.connect(str(setting.place.host))) as opened:
            _write(Tables(setting.pipeline, DUCKDB), DUCKDB, opened.execute, batches, each)
    else:
        host, name = setting.database
        with psycopg.connect(f"host={host} port=5432 user=postgres dbname={name}", autocommit=True) as connection:
            tables = Tables(setting.pipeline, POSTGRES)
            # An index that is built once the rows are there takes minutes less.
            ((unique,),) = connection.execute(
                b"SELECT conname FROM pg_constraint WHERE contype = 'u' AND conrelid = CAST(%s AS regclass)",
                (tables.rows.sql,),
            ).fetchall()
            connection.execute(f"ALTER TABLE {tables.rows.sql} DROP CONSTRAINT {unique}".encode())
            _write(
                tables, POSTGRES, lambda sql, values: connection.execute(sql.encode(), values or None), batches, each
            )
            key = ", ".join(map(POSTGRES.quoted, setting.pipeline.key_columns))
            connection.execute(f"ALTER TABLE {tables.rows.sql} ADD CONSTRAINT {unique} UNIQUE ({key})".encode())
            connection.execute(b"VACUUM ANALYZE")
            connection.execute(b"CHECKPOINT")
    return time.perf_counter() - started


def _write(tables: Tables, dialect: Dialect, run: Run, batches: int, each: int) -> None:
    """Write positions, ledger rows and rows: so many records of each partition in each batch."""
    number = f"{dialect.mark}, CAST({dialect.mark} AS integer), 0, CAST({dialect.mark} AS bigint), NULL, 0"
    for partition in range(PARTITIONS):
        run(
            f"INSERT INTO {tables.positions.sql} SELECT {dialect.mark}, 'older', {number}",
            (tables.target, _TOPIC_ID, partition, batches * each),
        )
    ranges = " || ', ' || ".join(
        f"'[{p}, ' || CAST(g.i * {each} AS text) || ', ' || CAST((g.i + 1) * {each} AS text) || ']'"
        for p in range(PARTITIONS)
    )
    ranges = dialect.to_json.format(f"('[' || {ranges} || ']')")
    bound = [msgspec.json.encode(value).decode() for value in (_manifest(tables.target, each), _accounts(each))]
    manifest, accounts = (dialect.to_json.format(f"CAST({dialect.mark} AS text)") for _ in bound)
    run(
        f"INSERT INTO {tables.batches.sql} "
        "SELECT substr(md5(CAST(g.i AS text)), 1, 16), substr(md5(CAST(g.i AS text)), 17, 16), 'older', "
        f"{dialect.mark}, 'scheduled', 'older', {dialect.mark}, {ranges}, {ranges}, {manifest}, NULL, {accounts}, "
        f"md5('') || md5(''), CAST('2025-01-01T00:00:00Z' AS timestamptz) FROM generate_series(0, {batches - 1}) g(i)",
        (tables.target, _TOPIC_ID, *bound),
    )
    run(_rows(tables.rows, dialect, each * PARTITIONS, batches), ())


def _rows(table: Table, dialect: Dialect, rows_a_batch: int, batches: int) -> str:
    columns = ", ".join(dialect.quoted(column.name) for column in table.columns)
    values = ", ".join(_value(column, rows_a_batch) for column in table.columns)
    return (
        f"INSERT INTO {table.sql} ({columns}) SELECT {values} "
        f"FROM generate_series(0, {batches * rows_a_batch - 1}) g(i)"
    )


def _value(column: Column, rows_a_batch: int) -> str:
    """A value that is as long as a sign-up's."""
    own = {
        "_batch_id": f"substr(md5(CAST(CAST(floor(g.i / {rows_a_batch}) AS bigint) AS text)), 1, 16)",
        "_kafka_topic_id": f"'{_TOPIC_ID}'",
        "_kafka_partition": f"CAST(g.i % {PARTITIONS} AS integer)",
        "_kafka_offset": f"CAST(floor(g.i / {PARTITIONS}) AS bigint)",
    }
    kinds = {
        "uuid": "CAST(md5(CAST(g.i AS text)) AS uuid)",
        "int64": "g.i",
        "text": "'somebody ' || CAST(g.i % 1000 AS text)",
        "bool": "true",
        "timestamptz": "CAST('2025-01-01T00:00:00Z' AS timestamptz)",
        "date": "CAST('2025-01-01' AS date)",
    }
    return own.get(column.name) or kinds[column.type]


def _manifest(target: str, each: int) -> Manifest:
    file = StagedFile("kafka_staging_0123456789abcdef.0123456789ab.csv", 2_200_000, "0" * 64, each * PARTITIONS, 700)
    return Manifest(
        contract_version=CONTRACT_VERSION,
        batch_id="0" * 16,
        plan_id="0" * 16,
        pipeline="older",
        target=target,
        run_id="scheduled",
        topic="older",
        topic_id=_TOPIC_ID,
        partitions=tuple(
            StagedPartition(
                partition=partition,
                start=0,
                end=each,
                generation=0,
                start_epoch=0,
                end_epoch=0,
                epochs=(),
                gap=0,
                records=each,
                invisible=0,
            )
            for partition in range(PARTITIONS)
        ),
        parts=(StagedPart(file, file, file, file),),
    )


def _accounts(each: int) -> Accounts:
    records = each * PARTITIONS
    return Accounts(
        records=records,
        invisible=0,
        gap=0,
        already_loaded=0,
        loaded=records,
        duplicates=0,
        dead_letters=0,
        tombstones=0,
        acked=None,
        acked_seen=None,
        unknown_fields=0,
        conflicts=0,
        unchecked_jumps=0,
    )
