"""Airflow's ConsumeFromTopicOperator, with `json` and `csv` in its callback, as its documentation shows it."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.work import COLUMNS, PLACE, REFUSED, Work, cleaned, require_files


def consume(work: Work, clean: Callable[[bytes], Sequence[Any]] = cleaned) -> float:
    """From `execute` on, to as many messages as it is told.

    Args:
        work: What it is told.
        clean: Judges and cleans up a value; it raises what `REFUSED` names.
    """
    connection = {
        "conn_type": "kafka",
        "extra": {
            "bootstrap.servers": work.bootstrap,
            "group.id": work.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        },
    }
    os.environ["AIRFLOW_CONN_KAFKA_DEFAULT"] = json.dumps(connection)
    os.environ["AIRFLOW_HOME"] = str(work.folder)
    from airflow.providers.apache.kafka.operators.consume import ConsumeFromTopicOperator

    with work.rows.open("w", newline="") as rows, work.rejected.open("w", newline="") as rejected:
        good, bad = csv.writer(rows), csv.writer(rejected)
        good.writerow((*COLUMNS, *PLACE))
        operator = ConsumeFromTopicOperator(
            task_id="consume",
            topics=[work.topic],
            apply_function_batch=lambda messages: _write(messages, clean, good.writerow, bad.writerow),
            max_messages=work.records,
            max_batch_size=10_000,
            poll_timeout=5,
        )
        started = time.perf_counter()
        operator.execute({})
        seconds = time.perf_counter() - started
    require_files(work, headers=(1, 0))
    return seconds


def _write(
    messages: Sequence[Any],
    clean: Callable[[bytes], Sequence[Any]],
    good: Callable[[Sequence[Any]], Any],
    bad: Callable[[Sequence[Any]], Any],
) -> None:
    for message in messages:
        value = message.value()
        place = (message.partition(), message.offset(), message.timestamp()[1])
        try:
            good((*clean(value), *place))
        except REFUSED as error:
            bad((type(error).__name__, value.hex(), *place))
