"""What a warehouse promises: who calls what, when, how often, and what a failure may leave.

Planning (steps 3 to 7) calls at every try of the task `compare_tables`, where a table is missing `access`,
then `positions`, where there are none `other_targets`, and once for each accepted truncation `set_back`. It creates
nothing. When the batch was judged and is within its error budget, it calls `ensure_tables` where the tables aren't as
declared or the plan has partitions without a position (the first time, new partitions, an accepted topic_id), and for
these `add_positions` and `positions` again. All are called again for up to 30 s while
they raise RetriableError. Each is a transaction of its own: a failure leaves all of a call or none of it, and a repeat
changes nothing.

Loading (steps 13 to 19) calls, at every try and again for up to 30 s, `ensure_tables` and opens one `loading()`: in
the order copy_staged, lock_positions, find_batch, count_staged, apply, advance, applied_sums, commit, each once. It
ends after find_batch when the batch is there already, and has no copy_staged when the staged files are gone. Until
`commit` returns nothing is visible to anybody; leaving the block without it rolls back. A failure or a kill may leave
what is in no table and no ledger: files that no entry of a log names, a scratch folder, a session that the server
ends. When `commit` raises a RetriableError, it may be unknown whether the rows are there: the caller opens a new
`loading()`, whose `find_batch` tells. Unknown is only what got no answer; what the warehouse answers is definite.

A warehouse may begin its transaction only at lock_positions, when its temporary tables are the session's own: what
counts is that no commit of another loader comes between the reading of the positions and this commit, and that rows
and ledger are committed together. Holding a lock is one way. The other is a log: lock_positions reads its newest entry
and locks nothing, commit creates the next one if nobody has, and the loser gets a RetriableError and starts again
from a new `loading()`, where its own entry is found by find_batch, another's by the positions.

Reconciling (step 20) calls `snapshot` in the same way, the command line `snapshot` and `history`; they only
read. The command also calls `compare_tables` and `access`, whether the tables are there or not, and `audit`, once
`compare_tables` has passed them; all may come at any moment, beside a running load, and write nothing.

Errors: `SettingsError` for what a person fixes (credentials, a missing grant, named; a column that differs is an
IntegrityError naming it), `RetriableError` for what may pass (not reachable, locked, deadlock, statement timeout),
never a driver's own exception, never a secret in a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

from topicledger.model.accounts import AppliedCounts, PartitionBooks, StagedCounts
from topicledger.model.ledger import LedgerRow, LedgerSnapshot, Loaded
from topicledger.model.manifest import Manifest
from topicledger.model.plan import OffsetRange, Position

if TYPE_CHECKING:
    import pyarrow as pa


@runtime_checkable
class TypedStream(Protocol):
    """A staged file that has types of its own: who takes Arrow needs no CSV of it."""

    def record_batches(self) -> pa.RecordBatchReader:
        """Its rows, once, instead of reading the stream: the columns that the CSV would have, by name and order.

        Raises:
            IntegrityError: The file isn't what was staged.
            RetriableError: The worker's disk is full or failing.
        """


@dataclass(frozen=True, slots=True)
class StagedStreams:
    """The staged files of one part, opened once, each hashed while it is read: what is copied is what was verified.

    Each stream is read to its end exactly once, by `read(size)` or `readinto`: that is CSV, in whatever format the
    file is. A stream that is a `TypedStream`, too, may be taken as Arrow's batches instead. The formats are those of
    `topicledger.staged_files.schemas`: CSV, UTF-8, a header line, `\\n` line ends, text and times quoted, NULL unquoted
    and empty.

    rows: the pipeline's columns in order, then `_kafka_partition`, `_kafka_offset`, `_kafka_timestamp`.
    dead_letters: `reason`, `error`, `key`, `value` (base64; NULL stays NULL), `headers` (JSON text), then the
        same three.
    tombstones: `_kafka_partition`, `_kafka_offset`.
    jumps: `partition`, `start`, `end`, `kind` (`gap` or `invisible`).
    """

    rows: BinaryIO
    dead_letters: BinaryIO
    tombstones: BinaryIO
    jumps: BinaryIO


@dataclass(frozen=True, slots=True)
class Compared:
    """How a warehouse's tables differ from what the pipeline declares, where a run may mend it.

    Args:
        there: Whether all tables are there; what is missing a run creates once its first batch was judged.
        alterations: How a run alters the rows table then: the statements, in order.
    """

    there: bool
    alterations: tuple[str, ...] = ()

    @property
    def as_declared(self) -> bool:
        """Whether nothing has to be done."""
        return self.there and not self.alterations


@dataclass(frozen=True, slots=True)
class Audit:
    """What `topicledger check` says of a warehouse besides its tables, a sentence each.

    Args:
        notes: What is no problem.
        problems: What is one, with the next step.
    """

    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class LoadTransaction(Protocol):
    """One attempt to load one batch: a transaction that is open from the first byte to the commit."""

    def copy_staged(self, manifest: Manifest, parts: Sequence[StagedStreams]) -> None:
        """Step 13: copy the files of all the manifest's parts, in its order, into temporary tables of this transaction.

        Raises:
            IntegrityError: The bytes don't parse as what they should be.
        """

    def lock_positions(self) -> Sequence[Position]:
        """Step 14: lock all this target's position rows against other loaders, then read them, in that order.

        In a log: read its newest entry, which commit will refuse to follow when it no longer is the newest.

        Returns:
            Every row of this target, of all topics and topic_ids, as committed when the lock was granted.
        """

    def find_batch(self, batch_id: str, plan_id: str) -> LedgerRow | None:
        """Step 15: the ledger row of this plan of this run, when it was loaded already."""

    def count_staged(self, planned: Sequence[OffsetRange]) -> StagedCounts:
        """I2: recount the temporary tables: rows, dead letters, tombstones, coordinates."""

    def apply(self, manifest: Manifest, applied: Sequence[OffsetRange]) -> AppliedCounts:
        """Steps 17 and 18: insert what lies inside `applied`; count everything, each term on its own.

        It is called once: the temporary tables lose what lies outside applied.
        Of each key the lowest (partition, offset) inside applied is inserted, unless the table has the key (files
        can't be asked: there only this batch counts, and a view shows the first loaded of each key);
        the others are duplicates, and conflicts where one of the pipeline's columns differs from the row that
        won. Without a key all are inserted: each once, since no range is applied twice. Dead letters inside
        applied are inserted. What lies outside applied is `already_loaded`, whatever its kind. Gaps and
        invisible offsets are counted clipped to applied.

        Raises:
            IntegrityError: A rule of the table's own refuses a record: it has the first one's coordinates where they
                were found, never what a record holds.
        """

    def advance(self, positions: Sequence[Position], row: LedgerRow) -> None:
        """Step 19: set these position rows (position, leader_epoch) and insert the ledger row.

        Raises:
            IntegrityError: As by `apply`, where the rule is deferred to the commit: it is looked at here.
        """

    def applied_sums(self) -> Sequence[PartitionBooks]:
        """I4: the target's books as this transaction sees them, ledger row included.

        `applied` is the sum of the rows' own ranges (in a log a running total of them), never made of positions.
        """

    def commit(self) -> None:
        """Commit, durably.

        Raises:
            RetriableError: It is unknown whether the transaction was committed, since no answer came; or it was refused
                for now, in a log because another load was committed first.
            IntegrityError: It was refused: nothing of it is there.
        """


class Warehouse(Protocol):
    """One pipeline's tables in one warehouse. Not shared between threads or processes."""

    @property
    def target(self) -> str:
        """The rows table's fully qualified name: `schema.table`."""

    def ddl(self) -> str:
        """The statements that create the tables, for a DBA and for `topicledger check`."""

    def spelled_columns(self) -> Sequence[tuple[str, str]]:
        """The rows table's columns as this warehouse spells names and types: the pipeline's, then the engine's."""

    def compare_tables(self) -> Compared:
        """Compare what is there with what the pipeline declares. Creates nothing, no file and no folder either.

        Raises:
            SettingsError: A table is missing or has to be altered, and the pipeline doesn't create tables; or a grant
                is missing.
            IntegrityError: A column is missing, has another type or another nullability, and no run may mend it: it is
                named.
        """

    def ensure_tables(self) -> Sequence[str]:
        """Create what is missing and alter what may change (when the pipeline says so), and compare what is there.

        A run calls it when a batch was judged, and a repeat does nothing. A nullable column may be added, a number may
        get more digits, a column may get nullable: no row that is there says anything else afterwards. Two that alter
        at once do it once; a kill leaves the table as it was or as it is declared, but for several statements where
        DDL commits.

        Returns:
            What was altered, by its statements.

        Raises:
            SettingsError: As `compare_tables`; or this user may not alter the table: it has the statements.
            IntegrityError: As `compare_tables`.
            RetriableError: Others hold the table that has to be altered.
        """

    def positions(self, topic: str) -> Sequence[Position]:
        """This target's position rows of a topic, of every topic_id that it ever had; none where no ledger is yet."""

    def other_targets(self, topic: str) -> Sequence[Loaded]:
        """The other targets of the same ledger that a topic was loaded into, and by whom; none where no ledger is."""

    def add_positions(self, positions: Sequence[Position], row: LedgerRow | None = None) -> None:
        """Step 4, in a transaction of its own: insert position rows that aren't there; leave others alone.

        Args:
            positions: The rows; those whose key exists are ignored.
            row: An acceptance to record in the same transaction; ignored when its key exists.
        """

    def set_back(self, before: Position, after: Position, row: LedgerRow) -> None:
        """Step 5, in a transaction of its own: an accepted truncation.

        Raises:
            RetriableError: The position row is no longer `before`: plan again.
        """

    def loading(self) -> AbstractContextManager[LoadTransaction]:
        """Open a transaction in a session of its own; roll back and close when the block ends without commit."""

    def snapshot(self, batch_id: str, plan_id: str) -> LedgerSnapshot:
        """Step 20: one ledger row and the whole target's books, in a single read-only snapshot.

        Where there are none, the row first: books that are read after a row have what it applied.
        """

    def history(self, limit: int) -> Sequence[LedgerRow]:
        """The target's newest ledger rows, newest first."""

    def access(self) -> Audit:
        """What this user may not do there that a run does, told by asking, never by trying. Changes nothing.

        The tables need not exist yet: then it is about creating them, when the pipeline says so.

        Raises:
            RetriableError: Not reachable.
            SettingsError: Not even the connection is let in.
        """

    def audit(self) -> Audit:
        """What lies there without being in the ledger, or the other way round. May take long; changes nothing."""

    def close(self) -> None:
        """Close every session. A repeat does nothing."""
