"""What the shared SQL needs from a driver: one connection, its statements, its bulk copy and its lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Protocol

from topicledger.columns import Column

CHANGE_THE_RULE = (
    "It is a rule of the table's own: change it, or the table's rows, or declare a check, by which such records become "
    "dead letters"
)
"""What a person does about a constraint or trigger that refuses a record."""


class Session(Protocol):
    """One connection of its own. Every driver's exception leaves it as one of ours.

    A transaction is opened by `begin`, `begin_snapshot` or `begin_load` and ended by `commit`, or by `close`,
    which rolls back.
    """

    def begin(self) -> None:
        """Open a transaction that writes."""

    def begin_snapshot(self) -> None:
        """Open a transaction that reads, and sees one and the same state in all its statements."""

    def begin_load(self) -> None:
        """Make ready for a load; whether the transaction begins here or at `lock` is the driver's choice."""

    def label(self, batch_id: str) -> None:
        """Name the batch in what the server shows of this session's statements, where it shows any."""

    def lock_creation(self) -> None:
        """Wait for others that create tables at this moment; statements that follow see what they created."""

    def lock_new_positions(self, version_table: str) -> None:
        """Exclude others that add position rows at this moment, where a key constraint doesn't."""

    def lock(self, positions_table: str, target: str) -> None:
        """Lock the target's position rows; statements that follow see what was committed until then.

        Raises:
            RetriableError: Another loader was faster.
        """

    def savepoint(self) -> None:
        """Remember this point of a load's transaction, for `undo`."""

    def undo(self) -> bool:
        """Undo what was written since the last `savepoint`, also after a failed statement; a transaction stays open.

        Returns:
            False where there are no savepoints: the whole transaction was undone, and another one begun.
        """

    def check_deferred(self) -> None:
        """Check what the tables' own constraints leave to COMMIT, where they can.

        Raises:
            IntegrityError: A constraint refuses.
        """

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement and return how many rows it wrote."""

    def copy(self, table: str, columns: Sequence[Column], stream: BinaryIO, block_bytes: int) -> None:
        """Copy a CSV stream to its end into a table with exactly these columns, in this order.

        Args:
            table: The temporary table.
            columns: Its columns, which are the header's too.
            stream: Read to its end, once.
            block_bytes: No record is longer.

        Raises:
            IntegrityError: The bytes don't parse.
        """

    def commit(self, then: Callable[[], None] | None = None) -> None:
        """Commit, durably.

        Args:
            then: Called as soon as the commit has succeeded, before the driver tidies up.

        Raises:
            RetriableError: It is unknown whether the transaction was committed, or it was refused for now.
            IntegrityError: It was refused: nothing of it is there.
        """

    def close(self) -> None:
        """Roll back what is open, then disconnect. It never raises; a repeat does nothing."""


class WritingSession(Session):
    """A session where a row is locked by writing it alone, without savepoints and without constraints that wait."""

    def begin_load(self) -> None:
        """Do nothing: temporary tables are the session's, not a transaction's, so the transaction begins at `lock`."""

    def lock_new_positions(self, version_table: str) -> None:
        """Write the version's row: inserts don't hinder each other, updates of one row do."""
        self.touch(version_table, "version")

    def touch(self, table: str, column: str, where: str = "", values: Sequence[Any] = ()) -> None:
        """Write a number of some rows there and back: an update that changes nothing may be skipped."""
        for sign in "+-":
            self.execute(f"UPDATE {table} SET {column} = {column} {sign} 1{where}", values)  # noqa: S608 - constants

    def savepoint(self) -> None:
        """Do nothing: there are no savepoints."""

    def undo(self) -> bool:
        """Roll back, and begin again."""
        self.execute("ROLLBACK")
        self.execute("BEGIN TRANSACTION")
        return False

    def check_deferred(self) -> None:
        """Do nothing: what is enforced is enforced at once."""
