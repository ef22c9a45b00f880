"""The ledger's rows as values: what was planned, what was applied, and the accounts that closed."""

from __future__ import annotations

import datetime as dt

import msgspec

from topicledger.model.accounts import Accounts, PartitionBooks
from topicledger.model.manifest import Acceptance, Manifest
from topicledger.model.plan import OffsetRange, Receipt

SCHEMA_VERSION = 1
"""Version of the ledger tables' columns, stored with them so that an upgrade can read it."""


class LedgerRow(msgspec.Struct, frozen=True):
    """One row of `topicledger_batches`, keyed by (batch_id, plan_id).

    Args:
        batch_id: The run.
        plan_id: The content; for an acceptance its own digest.
        pipeline: The pipeline's name.
        target: The rows table's fully qualified name.
        run_id: Airflow's run id, for people.
        topic: The topic.
        topic_id: Kafka's id of the topic.
        planned: What was planned, per partition.
        applied: What this row moved the positions by; start > end for an accepted truncation.
        manifest: What was staged, or what a person accepted.
        receipt: What the run had produced, or None.
        accounts: The accounts, or None for an acceptance.
        sha256: Digest of the manifest's bytes, which carries the digests of all staged files; empty for an
            acceptance.
        loaded_at: The warehouse's clock at the transaction; None before it is written.
    """

    batch_id: str
    plan_id: str
    pipeline: str
    target: str
    run_id: str
    topic: str
    topic_id: str
    planned: tuple[OffsetRange, ...]
    applied: tuple[OffsetRange, ...]
    manifest: Manifest | Acceptance
    receipt: Receipt | None
    accounts: Accounts | None
    sha256: str
    loaded_at: dt.datetime | None = None


class LedgerSnapshot(msgspec.Struct, frozen=True):
    """One ledger row and the target's books, read in a single snapshot.

    Args:
        row: The row asked for, or None when the ledger doesn't have it.
        partitions: The whole target's books, of every topic_id.
    """

    row: LedgerRow | None
    partitions: tuple[PartitionBooks, ...]
