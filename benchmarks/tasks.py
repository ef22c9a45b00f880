"""What is measured, each in a process of its own: the product's steps, and the bare parts that limit them.

A task gets a `Setting` and gives the seconds that its work took, without the start of the process and its imports,
unless starting belongs to the work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from benchmarks.bare_loads import bare_load_duckdb, bare_load_folder, bare_load_postgres, bare_load_s3
from benchmarks.setting import AT, Setting
from topicledger.simulation import simulate
from topicledger.steps.consume import consume_batch
from topicledger.steps.load import load_batch
from topicledger.steps.produce import produce_batch
from topicledger.steps.reconcile import reconcile


def kcat(setting: Setting) -> float:
    """The client library alone: kcat drains the topic to nowhere."""
    command = ["kcat", "-b", setting.bootstrap, "-t", setting.topic, "-C", "-e", "-q"]
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def bare_consume(setting: Setting) -> float:
    """The client library in Python, as it comes: `consume()` to the end, the values not looked at."""
    return _drained(setting, {})


def eager_consume(setting: Setting) -> float:
    """The same, with the one setting that keeps the client from standing still when its queue is full."""
    return _drained(setting, {"fetch.queue.backoff.ms": 10})


def _drained(setting: Setting, more: dict[str, int]) -> float:
    config = {"bootstrap.servers": setting.bootstrap, "group.id": "bench", "enable.auto.commit": False, **more}
    consumer = Consumer(config)
    started = time.perf_counter()
    partitions = range(len(consumer.list_topics(setting.topic).topics[setting.topic].partitions))
    consumer.assign([TopicPartition(setting.topic, partition, 0) for partition in partitions])
    left = setting.records
    while left:
        left -= len(consumer.consume(min(10_000, left), 1.0))
    seconds = time.perf_counter() - started
    consumer.close()
    return seconds


def consume(setting: Setting) -> float:
    """Steps 3 to 12: plan, read, judge, clean up, stage as CSV with checksum and sync, commit the offsets."""
    started = time.perf_counter()
    staged = consume_batch(setting, None)
    seconds = time.perf_counter() - started
    setting.handed_on.write_bytes(msgspec.json.encode([staged.rows_path, staged.handle]))
    return seconds


def load(setting: Setting) -> float:
    """Steps 13 to 19: check, copy, remove duplicates, dead letters, identities, ledger, commit."""
    rows_path, handle = json.loads(setting.handed_on.read_bytes())
    started = time.perf_counter()
    row = load_batch(setting, rows_path, handle)
    seconds = time.perf_counter() - started
    accounts = reconcile(setting, row.plan_id).accounts
    if accounts.records != setting.records:
        raise ValueError(f"{accounts} of {setting.records} records")
    return seconds


def produce(setting: Setting) -> float:
    """Steps 1 and 2: simulate, produce with headers, idempotent, acks from all, every delivery report counted."""
    records = simulate(setting.records, malformed=0.01, seed=1, run_key="bench", at=AT)
    started = time.perf_counter()
    receipt = produce_batch(setting, records)
    seconds = time.perf_counter() - started
    if receipt.acked != setting.records:
        raise ValueError(f"{receipt.acked} of {setting.records} acknowledged")
    return seconds


def bare_produce(setting: Setting) -> float:
    """The client library in Python: `produce()` of bytes that lie ready, a callback that counts; no headers."""
    values = [value for _, value in simulate(setting.records, malformed=0.01, seed=1, run_key="bench", at=AT)]
    acked = 0

    def count(error: KafkaError | None, message: Message) -> None:
        nonlocal acked
        del message
        acked += error is None

    producer = Producer(
        {
            "bootstrap.servers": setting.bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 200_000,
        }
    )
    started = time.perf_counter()
    for number, value in enumerate(values):
        while True:
            try:
                producer.produce(setting.topic, value, on_delivery=count)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        if not number % 1_000:
            producer.poll(0)
    producer.flush()
    seconds = time.perf_counter() - started
    if acked != setting.records:
        raise ValueError(f"{acked} of {setting.records} acknowledged")
    return seconds


def import_dag(setting: Setting) -> float:
    """What the DAG file takes to import when Airflow is there already."""
    os.environ["AIRFLOW_HOME"] = setting.folder
    import airflow.providers.common.compat.sdk
    import airflow.providers.standard.operators.bash
    import airflow.providers.standard.operators.python  # noqa: F401

    started = time.perf_counter()
    import user_etl_dag  # noqa: F401

    return time.perf_counter() - started


TASKS: dict[str, Callable[[Setting], float]] = {
    task.__name__: task
    for task in (
        kcat, bare_consume, eager_consume, consume, load, bare_load_duckdb, bare_load_postgres, bare_load_folder,
        bare_load_s3, produce, bare_produce, import_dag,
    )
}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](Setting.from_json(sys.argv[2]))))
