"""Where everything is measured: topics that are filled once, and empty warehouses."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, Producer, TopicPartition

from benchmarks import MALFORMED
from benchmarks.setting import AT, REGION, Setting
from devstack.broker import running_broker
from devstack.postgres import Postgres, running_postgres
from devstack.topics import ensure_topic
from topicledger.simulation import simulate

PARTITIONS = 6


class Ground:
    """A broker and a PostgreSQL for one run of the benchmark.

    Args:
        folder: Everything is in here.
        bootstrap: The broker.
        postgres: The server.
        endpoint: The emulator of S3.
    """

    def __init__(self, folder: Path, bootstrap: str, postgres: Postgres, endpoint: str) -> None:
        self._folder = folder
        self.bootstrap = bootstrap
        self.postgres = postgres
        self.endpoint = endpoint

    def topic(self, records: int, *, partitions: int = PARTITIONS, malformed: float = MALFORMED) -> str:
        """Give a topic with so many simulated sign-ups; it is filled the first time that it is asked for."""
        name = f"user_signups_{records}_{partitions}_{malformed:g}"
        if ensure_topic(self.bootstrap, name, partitions):
            _fill(self.bootstrap, name, records, malformed)
            _require_filled(self.bootstrap, name, partitions, records)
        return name

    def empty_topic(self) -> str:
        """Give a topic without records that nobody else has."""
        name = f"produced_{secrets.token_hex(4)}"
        ensure_topic(self.bootstrap, name, PARTITIONS)
        return name

    @contextmanager
    def setting(self, topic: str, records: int, warehouse: str = "duckdb") -> Iterator[Setting]:
        """An empty staging folder and an empty warehouse; both are gone when the block ends."""
        name = f"bench_{secrets.token_hex(4)}"
        folder = self._folder / name
        (folder / "staging").mkdir(parents=True, mode=0o700)
        (folder / "staging").chmod(0o700)
        database = (self.postgres.host, name)
        setting = Setting(self.bootstrap, topic, records, str(folder), warehouse, database, self.endpoint)
        if warehouse == "postgres":
            self.postgres.create_database(name)
        if warehouse == "s3":
            setting.s3.create_bucket(Bucket=setting.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        try:
            yield setting
        finally:
            if warehouse == "s3":
                _remove_bucket(setting)
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            folder.rmdir()
            if warehouse == "postgres":
                with psycopg.connect(self.postgres.dsn(), autocommit=True) as connection:
                    connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def running_ground(folder: Path) -> Iterator[Ground]:
    """A broker, a PostgreSQL and an emulator of S3 of our own, as they come, without tuning."""
    with (
        running_broker(folder / "broker") as broker,
        running_postgres(folder / "pg") as postgres,
        running_s3() as endpoint,
    ):
        yield Ground(folder, broker.bootstrap, postgres, endpoint)


@contextmanager
def running_s3() -> Iterator[str]:
    """An emulator of S3 (moto) on this machine, in this process, which only waits while a task is measured."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _remove_bucket(setting: Setting) -> None:
    for page in setting.s3.get_paginator("list_objects_v2").paginate(Bucket=setting.bucket):
        for item in page.get("Contents", ()):
            setting.s3.delete_object(Bucket=setting.bucket, Key=item["Key"])
    setting.s3.delete_bucket(Bucket=setting.bucket)


def _fill(bootstrap: str, topic: str, records: int, malformed: float) -> None:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "compression.type": "zstd", "linger.ms": 20, "batch.size": 1_000_000}
    )
    for key, value in simulate(records, malformed=malformed, seed=1, run_key=topic, at=AT):
        while True:
            try:
                producer.produce(topic, value, key)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    producer.flush()


def _require_filled(bootstrap: str, topic: str, partitions: int, records: int) -> None:
    consumer = KafkaConsumer({"bootstrap.servers": bootstrap, "group.id": "bench"})
    try:
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(partitions)]
    finally:
        consumer.close()
    if sum(ends) != records:
        raise KafkaException(f"{topic} has {sum(ends)} records, not {records}")
