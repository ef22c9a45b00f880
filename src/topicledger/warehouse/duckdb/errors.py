"""What a failure of DuckDB means to the caller."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from topicledger.connection import Connection
from topicledger.disks import free_in
from topicledger.errors import IntegrityError, RetriableError, SettingsError, TopicLedgerError
from topicledger.warehouse.sql.session import CHANGE_THE_RULE

# CHECK and NOT NULL aren't meant: their text has the table's own words alone.
_OF_A_VALUE = re.compile(
    r"Conversion Error|Invalid Input Error: Malformed|Out of Range Error"
    r"|(Constraint Error|TransactionContext Error: Failed to commit):.*(unique|foreign key) constraint|.*duplicate key",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"""["']""")
_HOLDER = re.compile(r"Conflicting lock is held in (.*?\(PID \d+\))")
_A_PERSON_FIXES = re.compile(
    r"Permission denied|Operation not permitted|not a valid DuckDB database|version number|(Is|Not) a directory",
    re.IGNORECASE,
)
# Memory that could not be spilled because the disk is full comes as an OutOfMemoryException too.
_DISK_IS_FULL = re.compile(r"max_temp_directory_size|No space left", re.IGNORECASE)


def failed(error: duckdb.Error | OSError, settings: Connection, path: Path) -> TopicLedgerError:
    """Translate a failed statement, or a file that couldn't be opened."""
    text = _said(error)
    where = f"connection {settings.conn_id}: DuckDB file {path}: {text[:500]}"
    if holder := _HOLDER.search(text):
        return RetriableError(
            f"connection {settings.conn_id}: DuckDB file {path} is open in another process, {holder[1]}: close it "
            "there; nothing was changed. Readers should open it READ_ONLY, and only for as long as a query takes",
            code="duckdb-file-busy",
        )
    if _DISK_IS_FULL.search(text):
        return RetriableError(
            f"{where}. Nothing was changed; {free_in(path.parent)}, where it also spills: free space on that disk",
            code="duckdb-disk-full",
        )
    if out_of_memory(error):
        return SettingsError(
            f"{where}. Nothing was changed. Give a larger memory_limit in the Extra, or declare a smaller max_records",
            code="duckdb-memory-exhausted",
            repeat="consume",
        )
    # Our statements parse; what doesn't is an option from the Extra.
    if isinstance(error, duckdb.ParserException):
        return SettingsError(f"{where}. Correct the connection's Extra", code="duckdb-extra-invalid")
    if isinstance(error, OSError | duckdb.IOException | duckdb.PermissionException) and _A_PERSON_FIXES.search(text):
        return SettingsError(
            f"{where}. Correct the path, its permissions or the installed DuckDB", code="duckdb-file-refused"
        )
    # OperationalError: files, memory, conflicts between threads; FatalException: the instance must be opened anew.
    if isinstance(error, OSError | duckdb.OperationalError | duckdb.InterruptException | duckdb.FatalException):
        return RetriableError(f"{where}. Nothing was changed; try again", code="warehouse-unavailable")
    if isinstance(error, duckdb.ConstraintException):
        return IntegrityError(
            f"{where}. Nothing was changed. {CHANGE_THE_RULE}", code="rule-refuses-record", repeat="consume"
        )
    return IntegrityError(
        f"{where}. Nothing was changed. Look at the table, unless it comes from a staged file",
        code="statement-refused",
        repeat="consume",
    )


def out_of_memory(error: Exception) -> bool:
    """Whether the memory limit is too small; memory that the disk has no room for isn't meant."""
    return isinstance(error, duckdb.OutOfMemoryException) and not _DISK_IS_FULL.search(str(error))


def as_arrow_said(error: Exception) -> duckdb.Error:
    """DuckDB's error again, of which Arrow passes on only the text."""
    text = str(error)
    return duckdb.OutOfMemoryException(text) if "Out of Memory Error" in text else duckdb.OperationalError(text)


def commit_failed(error: duckdb.Error, settings: Connection, path: Path) -> RetriableError:
    """Translate a failed COMMIT: refused because of the disk or of another thread's, or only the ledger tells."""
    text = _said(error)[:500]
    room = f"; {free_in(path.parent)}" if _DISK_IS_FULL.search(text) else ""
    where = f"connection {settings.conn_id}: DuckDB file {path}"
    if isinstance(error, duckdb.TransactionException):
        return RetriableError(
            f"{where}: COMMIT was refused ({text}{room}). Nothing was changed; try again", code="duckdb-commit-refused"
        )
    return RetriableError(
        f"{where}: it is unknown whether COMMIT succeeded ({text}{room}); the ledger tells when this is repeated",
        code="commit-unknown",
    )


def _said(error: Exception) -> str:
    """What DuckDB says, on one line and without a record's value, which stands in quotes; the error says no more."""
    text = " ".join(str(error).split())
    if _OF_A_VALUE.match(text):
        text = _QUOTED.split(text)[0].rstrip()
        # A log shows the cause, too.
        error.args = (text,)
    return text
