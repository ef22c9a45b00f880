"""Where everything is measured: topics that are filled once, empty warehouses, and the product's own settings."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, Producer, TopicPartition

from benchmarks import MALFORMED
from devstack.broker import running_broker
from devstack.postgres import Postgres, running_postgres
from devstack.topics import ensure_topic
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.identity import Run, batch_id
from topicledger.pipeline import Pipeline
from topicledger.signups import SIGNUPS
from topicledger.simulation import simulate
from topicledger.staging.root import LocalRoot
from topicledger.warehouse.contract import WarehouseSettings

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PARTITIONS = 6
REGION = "eu-central-1"
S3_KEY = "the-emulator-asks-for-none"


@dataclass(frozen=True)
class Setting:
    """What one measured process is told. It travels as JSON.

    Args:
        bootstrap: The broker.
        topic: The topic.
        records: How many records are on it, or are to be produced.
        folder: A private folder: staged files, the DuckDB file, what one task hands to the next.
        warehouse: `duckdb`, `postgres`, `folder` or `s3`.
        database: PostgreSQL's socket folder and database.
        endpoint: The emulator of S3.
    """

    bootstrap: str
    topic: str
    records: int
    folder: str
    warehouse: str = "duckdb"
    database: tuple[str, str] = ("", "")
    endpoint: str = ""

    def to_json(self) -> str:
        """Give it as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Setting:
        """Take it from JSON."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "database": tuple(fields["database"])})

    @property
    def kafka(self) -> KafkaSettings:
        """The Kafka connection."""
        return KafkaSettings("kafka_default", {"bootstrap.servers": self.bootstrap})

    @property
    def pipeline(self) -> Pipeline:
        """The shipped pipeline over this topic and folder."""
        return dataclasses.replace(SIGNUPS, topic=self.topic, staging_dir=str(Path(self.folder) / "staging"))

    @property
    def root(self) -> LocalRoot:
        """The staging root."""
        return LocalRoot(self.pipeline.staging_dir)

    @property
    def run(self) -> Run:
        """The run."""
        return Run(batch_id(self.pipeline.name, "manual__1"), "manual__1")

    @property
    def handed_on(self) -> Path:
        """What the consuming task hands to the next: the path of the staged rows, and the manifest's handle."""
        return Path(self.folder) / "handed_on.json"

    @property
    def bucket(self) -> str:
        """The bucket in the emulator of S3."""
        return Path(self.folder).name.replace("_", "-")

    @property
    def s3(self) -> Any:
        """A plain client of the emulator."""
        # Imported here: what a measured process imports counts as its memory.
        import boto3  # type: ignore[import-untyped] # ships no types

        keys = {"aws_access_key_id": S3_KEY, "aws_secret_access_key": S3_KEY}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, **keys)

    @property
    def place(self) -> WarehouseSettings:
        """The warehouse's connection."""
        if self.warehouse == "duckdb":
            return WarehouseSettings("warehouse_default", "duckdb", host=str(Path(self.folder) / "warehouse.duckdb"))
        if self.warehouse == "folder":
            return WarehouseSettings("warehouse_default", "fs", extra={"path": str(Path(self.folder) / "lake")})
        if self.warehouse == "s3":
            extra = {"bucket": self.bucket, "prefix": "lake", "endpoint_url": self.endpoint, "region_name": REGION}
            return WarehouseSettings("warehouse_default", "aws", login=S3_KEY, password=S3_KEY, extra=extra)
        host, name = self.database
        return WarehouseSettings(
            "warehouse_default", "postgres", host=host, port=Postgres.port, login=Postgres.user, schema=name
        )


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
