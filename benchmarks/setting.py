"""What one measured process is told, and the product's own settings that follow from it.

A module of its own, which imports little: what a measured process imports counts as its memory.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topicledger.connection import Connection
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.identity import batch_id
from topicledger.pipeline import Pipeline
from topicledger.signups import SIGNUPS
from topicledger.staged_files.root import LocalRoot

if TYPE_CHECKING:
    from topicledger.warehouse.contract import Warehouse

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
REGION = "eu-central-1"
S3_KEY = "the-emulator-asks-for-none"
POSTGRES_USER = "postgres"
POSTGRES_PORT = 5432


@dataclass(frozen=True)
class Setting:
    """What one measured process is told. It travels as JSON.

    Args:
        bootstrap: The broker.
        topic: The topic.
        records: How many records are on it, or are to be produced.
        folder: A private folder: staged files, the DuckDB file, what one task hands to the next.
        kind: `duckdb`, `postgres`, `folder` or `s3`.
        database: PostgreSQL's socket folder and database.
        endpoint: The emulator of S3.
    """

    bootstrap: str
    topic: str
    records: int
    folder: str
    kind: str = "duckdb"
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
    def staging(self) -> LocalRoot:
        """The staging root."""
        return LocalRoot(self.pipeline.staging_dir)

    run_id = "manual__1"
    accept = ()
    registry = None

    @property
    def batch_id(self) -> str:
        """The run."""
        return batch_id(self.pipeline.name, self.run_id)

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        """Open the warehouse."""
        from topicledger.warehouse.choice import open_warehouse

        with closing(open_warehouse(self.place, self.pipeline)) as warehouse:
            yield warehouse

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
        import boto3  # type: ignore[import-untyped] # ships no types

        keys = {"aws_access_key_id": S3_KEY, "aws_secret_access_key": S3_KEY}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, **keys)

    @property
    def place(self) -> Connection:
        """The warehouse's connection."""
        if self.kind == "duckdb":
            return Connection("warehouse_default", "duckdb", host=str(Path(self.folder) / "warehouse.duckdb"))
        if self.kind == "folder":
            return Connection("warehouse_default", "fs", extra={"path": str(Path(self.folder) / "lake")})
        if self.kind == "s3":
            extra = {"bucket": self.bucket, "prefix": "lake", "endpoint_url": self.endpoint, "region_name": REGION}
            return Connection("warehouse_default", "aws", login=S3_KEY, password=S3_KEY, extra=extra)
        host, name = self.database
        return Connection(
            "warehouse_default", "postgres", host=host, port=POSTGRES_PORT, login=POSTGRES_USER, schema=name
        )
