"""The manifest: what consume staged, in full, for load to verify. A staged batch exists only through it."""

from __future__ import annotations

import msgspec

from topicledger.model.plan import OffsetRange, Receipt


class StagedFile(msgspec.Struct, frozen=True):
    """One staged file, by the bytes it must have.

    Args:
        name: The file's name inside the staging folder; never a path.
        size_bytes: Its size.
        sha256: Hexadecimal digest of all its bytes.
        records: Lines after the header, each one record (or, for jumps, one interval).
        block_bytes: No record is longer, so a reader's block of this size fits one.
    """

    name: str
    size_bytes: int
    sha256: str
    records: int
    block_bytes: int


class StagedPart(msgspec.Struct, frozen=True):
    """The files of one slice of the plan, which one reader staged.

    Args:
        rows: The clean rows.
        dead_letters: The dead letters; key and value in base64.
        tombstones: Coordinates of the tombstones.
        jumps: Intervals without a record: partition, start, end, kind `gap` or `invisible`.
    """

    rows: StagedFile
    dead_letters: StagedFile
    tombstones: StagedFile
    jumps: StagedFile

    @property
    def files(self) -> tuple[StagedFile, ...]:
        """The staged files, rows first."""
        return (self.rows, self.dead_letters, self.tombstones, self.jumps)


class LeaderEpoch(msgspec.Struct, frozen=True, array_like=True):
    """From `offset` on, records carry the leader epoch `epoch`; stored as [offset, epoch]."""

    offset: int
    epoch: int


class StagedPartition(msgspec.Struct, frozen=True):
    """What was staged of one partition.

    Args:
        partition: The partition.
        start: First planned offset.
        end: End of the plan, exclusive.
        generation: The ledger's generation at planning.
        start_epoch: The ledger's leader epoch at `start`, or None.
        end_epoch: The consumer's leader epoch after reading through `end`, or None.
        epochs: Where the records' leader epoch changed, ascending.
        gap: Offsets lost on Kafka's side and accepted.
        records: Records read: rows, dead letters and tombstones.
        invisible: Offsets without a record: transaction markers, aborted records, compacted ones.
    """

    partition: int
    start: int
    end: int
    generation: int
    start_epoch: int | None
    end_epoch: int | None
    epochs: tuple[LeaderEpoch, ...]
    gap: int
    records: int
    invisible: int

    @property
    def range(self) -> OffsetRange:
        """The planned offsets."""
        return OffsetRange(self.partition, self.start, self.end)

    def epoch_bounds(self, offset: int) -> tuple[int | None, int | None]:
        """Between which leader epochs the log had `offset` when it was read, both inclusive.

        Args:
            offset: An offset in [start, end].

        Returns:
            The epoch of the last record before `offset`, and a bound on that of the first record at or after
            it; None where nothing is known on that side.
        """
        before = [e.epoch for e in self.epochs if e.offset < offset]
        after = [e.epoch for e in self.epochs if e.offset >= offset]
        lower = before[-1] if before else self.start_epoch
        upper = after[0] if after else self.end_epoch
        return lower, upper


class Manifest(msgspec.Struct, frozen=True, tag="batch", tag_field="kind"):
    """Everything that load needs to know of a staged batch.

    Args:
        contract_version: `topicledger.model.identity.CONTRACT_VERSION` of the writer.
        batch_id: The run.
        plan_id: The content.
        pipeline: The pipeline's name.
        target: The rows table's fully qualified name.
        run_id: Airflow's run id, for people.
        topic: The topic.
        topic_id: Kafka's id of the topic.
        partitions: What was staged, per partition.
        parts: The staged files, four for each slice of the plan; none: an earlier contract's.
        receipt: What this run produced, or None.
        acked_seen: Records read that carry the receipt's attempt; None unless the plan contains all of it.
        compacted: Whether the topic is compacted (then records of the receipt may be invisible); None: unknown.
        reasons: Dead letters by reason.
        unknown_fields: Fields of records that the event type doesn't have; ignored.
        unchecked_jumps: Jumps in the offsets that were not read a second time.
        accepted: Losses that a person accepted.
        left: Offsets that a cap left for later runs.
        altered: How the rows table was altered before this batch.
    """

    contract_version: int
    batch_id: str
    plan_id: str
    pipeline: str
    target: str
    run_id: str
    topic: str
    topic_id: str
    partitions: tuple[StagedPartition, ...]
    parts: tuple[StagedPart, ...] = ()
    receipt: Receipt | None = None
    acked_seen: int | None = None
    compacted: bool | None = None
    reasons: dict[str, int] = {}
    unknown_fields: int = 0
    unchecked_jumps: int = 0
    accepted: tuple[str, ...] = ()
    left: int = 0
    altered: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """Records that were read."""
        return sum(p.records for p in self.partitions)

    @property
    def rows(self) -> int:
        """Rows that were staged."""
        return sum(part.rows.records for part in self.parts)

    @property
    def dead_letters(self) -> int:
        """Dead letters that were staged."""
        return sum(part.dead_letters.records for part in self.parts)

    @property
    def tombstones(self) -> int:
        """Tombstones that were staged."""
        return sum(part.tombstones.records for part in self.parts)


class Acceptance(msgspec.Struct, frozen=True, tag="acceptance", tag_field="kind"):
    """The ledger's record of a person accepting a loss that no batch carries: a truncation, a recreated topic.

    Args:
        batch_id: The run whose parameter accepted it.
        run_id: Airflow's run id, for people.
        accepted: What was accepted, as the error printed it.
    """

    batch_id: str
    run_id: str
    accepted: tuple[str, ...]
