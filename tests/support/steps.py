"""The real steps, in process, called as the DAG's tasks call them; each run has an id of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tests.support.records import Record, produce
from tests.support.topics import Topics, unique_topic
from topicledger.connection import Connection
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.accounts import Accounts
from topicledger.model.identity import batch_id
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Manifest
from topicledger.model.plan import Receipt
from topicledger.pipeline import Pipeline
from topicledger.signups import SIGNUPS
from topicledger.staged_files.choice import open_root, s3_root
from topicledger.staged_files.receipts import pushed_receipt, received_receipt
from topicledger.staged_files.root import StagingRoot
from topicledger.steps.consume import StagedResult, consume_batch
from topicledger.steps.load import load_batch
from topicledger.steps.produce import produce_batch
from topicledger.steps.reconcile import reconcile, show_positions
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.contract import Warehouse

if TYPE_CHECKING:
    from tests.support.oracle import Oracle


@dataclass(frozen=True)
class Case:
    """One test's ground: a topic, a target and a staging folder of its own."""

    topics: Topics
    place: Connection
    pipeline: Pipeline
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    staging: Connection | None = None
    registry: Connection | None = None

    @property
    def topic(self) -> str:
        """The case's topic."""
        return self.pipeline.topic

    @property
    def kafka(self) -> KafkaSettings:
        """The Kafka connection."""
        return KafkaSettings("kafka_default", {"bootstrap.servers": self.topics.bootstrap, **self.extra})

    def changed(self, **changes: Any) -> Case:
        """The same ground under another declaration of the pipeline."""
        return dataclasses.replace(self, pipeline=dataclasses.replace(self.pipeline, **changes))

    def with_extra(self, extra: Mapping[str, Any]) -> Case:
        """The same ground through a Kafka connection with further keys in its Extra."""
        return dataclasses.replace(self, extra={**self.extra, **extra})

    @property
    def root(self) -> StagingRoot:
        """The case's staging root."""
        return open_root(self.pipeline.staging_dir, self.staging)

    def warehouse(self) -> Warehouse:
        """The case's tables."""
        return open_warehouse(self.place, self.pipeline)

    def send(self, records: Iterable[Record], **config: Any) -> None:
        """Put records onto the topic with a client that isn't the product's."""
        produce(self.topics.bootstrap, self.topic, records, **config)

    def oracle(self) -> Oracle:
        """An oracle over this topic and target."""
        from tests.support.oracle import Oracle  # a process that does one step has no need of it

        return Oracle(self.topics, self.topic, self.place, self.pipeline.table, self.pipeline.key_columns)

    def counted(self, rows: int, repeats: int) -> tuple[int, int]:
        """What different records and repeats of a key are in `loaded` and `duplicates`: without a key all are rows."""
        return (rows, repeats) if self.pipeline.key else (rows + repeats, 0)

    def staged_files(self) -> list[Path]:
        """What lies in the staging folder."""
        return sorted(Path(self.pipeline.staging_dir).iterdir())


def make_case(
    topics: Topics,
    place: Connection,
    folder: Path,
    partitions: int = 2,
    config: Mapping[str, str] | None = None,
) -> Case:
    """Make a topic and a private staging folder, and declare the shipped pipeline over them."""
    staging = folder / "staging"
    staging.mkdir(mode=0o700)
    topic = unique_topic()
    topics.create(topic, partitions, config)
    name = topic.replace(".", "_")
    pipeline = dataclasses.replace(SIGNUPS, name=name, topic=topic, staging_dir=str(staging), transaction_wait_s=1.0)
    # Bad records are what many tests are about.
    pipeline = dataclasses.replace(pipeline, error_budget=1.0)
    return Case(topics, place, pipeline)


@dataclass
class OneRun:
    """Implements `topicledger.steps.run.Run`: one DAG run, and what its tasks have handed on so far."""

    case: Case
    name: str = "manual__1"
    receipt: Receipt | None = None
    staged: StagedResult | None = None
    row: LedgerRow | None = None
    accept: Sequence[str] = ()

    @property
    def pipeline(self) -> Pipeline:
        """The case's declaration."""
        return self.case.pipeline

    @property
    def run_id(self) -> str:
        """As Airflow would name the run."""
        return self.name

    @property
    def batch_id(self) -> str:
        """The run as the product names it."""
        return batch_id(self.case.pipeline.name, self.name)

    @property
    def kafka(self) -> KafkaSettings:
        """The case's Kafka connection."""
        return self.case.kafka

    @property
    def registry(self) -> Connection | None:
        """The case's schema registry."""
        return self.case.registry

    @property
    def staging(self) -> StagingRoot:
        """The case's staging root."""
        return self.case.root

    def warehouse(self) -> AbstractContextManager[Warehouse]:
        """The case's tables."""
        return closing(self.case.warehouse())

    def produce(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> Receipt:
        """Steps 1 and 2; the receipt goes through JSON, as an XCom does."""
        receipt = produce_batch(self, records)
        pushed = json.loads(json.dumps(pushed_receipt(receipt, self.staging, self.batch_id)))
        self.receipt = received_receipt(pushed, self.staging, self.batch_id, expected=True)
        assert self.receipt == receipt
        return receipt

    def consume(self, accept: Sequence[str] = ()) -> StagedResult:
        """Steps 3 to 12."""
        self.accept = accept
        self.staged = consume_batch(self, self.receipt)
        return self.staged

    def load(self) -> Accounts:
        """Steps 13 to 19."""
        assert self.staged is not None
        self.row = load_batch(self, self.staged.rows_path, msgspec.to_builtins(self.staged.handle))
        return self.accounts

    def reconcile(self) -> Accounts:
        """Step 20."""
        assert self.row is not None
        books = reconcile(self, self.row.plan_id)
        books.require_closed()
        show_positions(self, books)
        return books.accounts

    def clean_up(self) -> None:
        """Step 21, by the glob of the DAG's shell command, or by what it calls for S3."""
        if self.case.staging is not None:
            s3_root(self.case.pipeline.staging_dir, self.case.staging).clean_up(self.batch_id)
            return
        for path in Path(self.case.pipeline.staging_dir).glob(f"kafka_staging_{self.batch_id}.*"):
            path.unlink()

    def finish(self, accept: Sequence[str] = ()) -> Accounts:
        """Consume, load, reconcile; clean up whatever happened."""
        try:
            self.consume(accept)
            self.load()
            return self.reconcile()
        finally:
            self.clean_up()

    @property
    def accounts(self) -> Accounts:
        """The accounts of what was loaded."""
        assert self.row is not None
        assert self.row.accounts is not None
        return self.row.accounts

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is."""
        assert self.staged is not None
        return Path(self.staged.handle.path)

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is on disk."""
        return msgspec.json.decode(self.manifest_path.read_bytes(), type=Manifest)

    def with_manifest(self, content: bytes) -> OneRun:
        """Put another manifest in place, and give the same run with a handle that vouches for it."""
        assert self.staged is not None
        self.manifest_path.write_bytes(content)
        handle = dataclasses.replace(self.staged.handle, sha256=hashlib.sha256(content).hexdigest())
        return dataclasses.replace(self, staged=dataclasses.replace(self.staged, handle=handle))


@dataclass
class OpenedRun(OneRun):
    """A run into a warehouse that is open already, such as one that gives false counts."""

    opened: Warehouse | None = None

    def warehouse(self) -> AbstractContextManager[Warehouse]:
        """That warehouse."""
        assert self.opened is not None
        return nullcontext(self.opened)


def run_steps(
    case: Case,
    name: str = "manual__1",
    *,
    records: Iterable[tuple[bytes | None, bytes | None]] | None = None,
    accept: Sequence[str] = (),
) -> OneRun:
    """A whole run: produce (when there is something), consume, load, reconcile, clean up."""
    run = OneRun(case, name)
    if records is not None:
        run.produce(records)
    run.finish(accept)
    return run
