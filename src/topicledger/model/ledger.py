"""The ledger's rows as values: what was planned, what was applied, and the accounts that closed."""

from __future__ import annotations

import datetime as dt

import msgspec

from topicledger.model.accounts import Accounts, Identity, PartitionBooks, require_closed
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


class Loaded(msgspec.Struct, frozen=True, order=True):
    """Into which target a pipeline of what name has loaded a topic."""

    pipeline: str
    target: str


class LedgerSnapshot(msgspec.Struct, frozen=True):
    """One ledger row and the target's books, read in a single snapshot.

    Args:
        row: The row asked for, or None when the ledger doesn't have it.
        partitions: The whole target's books, of every topic_id.
    """

    row: LedgerRow | None
    partitions: tuple[PartitionBooks, ...]


class ReconciledBooks(msgspec.Struct, frozen=True):
    """A batch's books as step 20 read them, whether they closed or not: what report, note and lag tools show.

    Args:
        row: The ledger row, of a batch and not of an acceptance: it has accounts and a manifest.
        partitions: The whole target's books at that moment, of every topic_id.
        identities: Every identity, for this batch and for the whole target.
    """

    row: LedgerRow
    partitions: tuple[PartitionBooks, ...]
    identities: tuple[Identity, ...]

    @property
    def accounts(self) -> Accounts:
        """What became of the batch's records."""
        assert self.row.accounts is not None  # noqa: S101 - so it is made; this is for the type checker
        return self.row.accounts

    @property
    def broken(self) -> tuple[str, ...]:
        """The names of the identities that don't hold; empty when the books closed."""
        return tuple(sorted({identity.name for identity in self.identities if not identity.holds}))

    @property
    def positions(self) -> dict[int, int]:
        """The position of every partition of the batch's topic."""
        return {books.partition: books.position for books in self.partitions if books.topic_id == self.row.topic_id}

    def require_closed(self) -> None:
        """Do nothing when every identity holds.

        Raises:
            IntegrityError: It names each identity that doesn't hold, with its numbers.
        """
        require_closed(self.identities, self.row.batch_id)
