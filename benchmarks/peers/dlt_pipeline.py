"""dlt into DuckDB: a resource over the same client library gives dictionaries, judged by hand.

They travel as Parquet: its default for DuckDB, INSERT statements, takes several times as long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.work import COLUMNS, PLACE, REFUSED, Work, cleaned, require_all

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import duckdb
from confluent_kafka import Consumer, Message

_ROWS, _REJECTED = "user_signups", "rejected"


def run(work: Work) -> float:
    """From `run` on, to the rows in DuckDB."""
    database = work.folder / "dlt.duckdb"
    pipeline = dlt.pipeline(
        "sign_ups",
        pipelines_dir=str(work.folder / "pipelines"),
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name="loaded",
    )
    started = time.perf_counter()
    resource = dlt.resource(_judged_records(work), name="sign_ups", table_name=_table)
    pipeline.run(resource, loader_file_format="parquet").raise_on_failed_jobs()
    seconds = time.perf_counter() - started
    with duckdb.connect(str(database)) as connection:
        require_all(work, _count(connection, _ROWS), _count(connection, _REJECTED))
    return seconds


def _judged_records(work: Work) -> Iterator[list[dict[str, Any]]]:
    """A resource is told by its own code where the end is."""
    consumer = Consumer(
        {
            "bootstrap.servers": work.bootstrap,
            "group.id": work.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([work.topic])
    left = work.records
    while left:
        messages = consumer.consume(min(10_000, left), 1.0)
        left -= len(messages)
        yield [_judged(message) for message in messages]
    consumer.close()


def _judged(message: Message) -> dict[str, Any]:
    value = message.value() or b""
    place = dict(zip(PLACE, (message.partition(), message.offset(), message.timestamp()[1]), strict=True))
    try:
        return {**dict(zip(COLUMNS, cleaned(value), strict=True)), **place}
    except REFUSED as error:
        return {"error": type(error).__name__, "value": value, **place}


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    try:
        (count,) = connection.execute(f"SELECT count(*) FROM loaded.{table}").fetchall()[0]
    except duckdb.CatalogException:  # it had nothing to put there
        return 0
    return int(count)


def _table(fields: dict[str, Any]) -> str:
    return _REJECTED if "error" in fields else _ROWS
