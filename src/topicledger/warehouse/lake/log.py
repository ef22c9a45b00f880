"""The ledger as a log of immutable entries: found by its newest name, extended by a conditional create."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Iterator, Sequence

import msgspec

from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.ledger import LedgerRow
from topicledger.model.plan import Position
from topicledger.s3 import PAGE
from topicledger.warehouse.lake.log_entry import (
    ENTRY_VERSION,
    DataFile,
    LogEntry,
    LoggedColumn,
    first_of_block,
    following,
    row_key,
)
from topicledger.warehouse.lake.store import Store

LOGS = "_topicledger"
"""The folder that holds a folder for each target."""

_NAME = re.compile(r"[0-9]{20}\.json\Z")


class Log:
    """One target's log in a store. Reading is always of one entry, which never changes: that is the snapshot.

    Args:
        store: Where it lies.
        target: Whose it is.
    """

    def __init__(self, store: Store, target: str) -> None:
        self._store = store
        self._target = target
        self._folder = f"{LOGS}/{target}"

    @property
    def folder(self) -> str:
        """The log's folder in the store."""
        return self._folder

    @property
    def where(self) -> str:
        """The log's place, for messages."""
        return f"{self._store.location}/{self._folder}"

    def tip(self) -> LogEntry | None:
        """The newest entry, or None when there is no log yet.

        One listing up to 1,000 entries, and two more for each doubling of them. Entries at the log's beginning may
        be gone, which isn't taken for an empty log.
        """
        number = self._newest()
        return self._present(number) if number else None

    def require_tip(self) -> LogEntry:
        """The newest entry.

        Raises:
            SettingsError: There is no log yet.
        """
        found = self.tip()
        if found is None:
            raise SettingsError(
                f"there is no ledger at {self.where}; the first run creates it, where the pipeline declares "
                "create_tables=True. When there have been runs, correct the connection's bucket, prefix or path",
                code="ledger-missing",
            )
        return found

    def create(self, columns: tuple[LoggedColumn, ...], files: tuple[DataFile, ...]) -> LogEntry:
        """Begin the log with an entry without positions. When another was faster, its entry is given."""
        entry = LogEntry(ENTRY_VERSION, self._target, 1, _writer(), _now(), columns, files=files)
        self._store.create(self._key(1), _encoded(entry))
        return self._present(1)

    def extended(
        self,
        before: LogEntry,
        *,
        positions: Sequence[Position] = (),
        row: LedgerRow | None = None,
        columns: tuple[LoggedColumn, ...] | None = None,
    ) -> LogEntry:
        """The entry that would follow; nothing is written."""
        return following(before, writer=_writer(), written_at=_now(), positions=positions, row=row, columns=columns)

    def append(self, entry: LogEntry) -> None:
        """Write the entry under its number, unless the number is taken.

        Of any number of writers with the same number one succeeds. When the answer was lost, the entry itself is
        asked: it has its writer's name.

        Raises:
            RetriableError: Another writer was faster, or it is unknown whether this one was.
        """
        key, content = self._key(entry.sequence), _encoded(entry)
        try:
            taken = not self._store.create(key, content)
        except RetriableError:
            if self._store.read(key) == content:
                return
            raise
        if taken and self._store.read(key) != content:
            raise RetriableError(
                f"another load wrote entry {entry.sequence} of {self.where} first: start again from its positions",
                code="ledger-entry-raced",
            )

    def require_conditions(self, tip: LogEntry) -> None:
        """Do nothing when the store refuses to create what is there: the log rests on that alone.

        Raises:
            SettingsError: It doesn't, so that two writers could overwrite each other's entry.
        """
        key = self._key(tip.sequence)
        content = self._store.read(key)
        # The very same bytes: where the condition is ignored, nothing is changed by asking.
        if content is not None and self._store.create(key, content):
            raise SettingsError(
                f"{self._store.location} ignores If-None-Match: two loads at once could overwrite each other's "
                "entry of the ledger. Use a store that supports conditional writes",
                code="conditional-writes-missing",
            )

    def find(self, tip: LogEntry, batch_id: str, plan_id: str) -> LedgerRow | None:
        """The row of this key in any entry up to `tip`; one read for each block of entries."""
        wanted = row_key(batch_id, plan_id)
        last: LogEntry | None = tip
        while last is not None:
            if last.key == wanted:
                return last.row
            first = first_of_block(last.sequence)
            if wanted in last.earlier:
                return self._present(first + last.earlier.index(wanted)).row
            last = self.entry(first - 1)
        return None

    def backwards(self, tip: LogEntry) -> Iterator[LogEntry]:
        """Every entry, the newest first, read one by one as they are asked for."""
        found: LogEntry | None = tip
        while found is not None:
            yield found
            found = self.entry(found.sequence - 1)

    def entry(self, sequence: int) -> LogEntry | None:
        """One entry, or None when it isn't there."""
        content = self._store.read(self._key(sequence)) if sequence > 0 else None
        if content is None:
            return None
        self._require_known_version(content, sequence)
        try:
            entry = msgspec.json.decode(content, type=LogEntry)
        except msgspec.MsgspecError as error:
            raise IntegrityError(
                f"entry {sequence} of {self.where} can't be read: {error}. Somebody changed it: restore it",
                code="ledger-entry-unreadable",
            ) from error
        if (entry.target, entry.sequence) != (self._target, sequence):
            raise IntegrityError(
                f"entry {sequence} of {self.where} says that it is entry {entry.sequence} of {entry.target}: "
                "somebody copied it there. Restore the right one",
                code="ledger-entry-misplaced",
            )
        return entry

    def _newest(self) -> int:
        """The newest entry's number, or 0. Asks where the log ends rather than reading all its names."""
        newest, more = self._page(0)
        step, past = 0, None
        while more and newest != past:
            if past is not None and past - newest <= PAGE:
                return self._page(newest)[0] or newest
            probe = newest + step if past is None else (newest + past) // 2
            found, more_there = self._page(probe)
            if found:
                newest, more, step = found, more_there, 2 * step or PAGE
            else:
                past = probe
        return newest

    def _page(self, after: int) -> tuple[int, bool]:
        """The last entry among the names that come next, or 0, and whether there may be more."""
        names = self._store.names(self._folder, _name(after))
        numbers = [int(name[:20]) for name in names if _NAME.match(name)]
        return (numbers[-1] if numbers else 0), len(names) == PAGE

    def _key(self, sequence: int) -> str:
        return f"{self._folder}/{_name(sequence)}"

    def _present(self, sequence: int) -> LogEntry:
        found = self.entry(sequence)
        if found is None:
            raise IntegrityError(
                f"entry {sequence} of {self.where} is gone: restore it, and stop what removes it",
                code="ledger-entry-gone",
            )
        return found

    def _require_known_version(self, content: bytes, sequence: int) -> None:
        try:
            version = msgspec.json.decode(content, type=_Versioned).version
        except msgspec.MsgspecError:
            return
        if version > ENTRY_VERSION:
            raise SettingsError(
                f"entry {sequence} of {self.where} has version {version}, this topicledger knows up to "
                f"{ENTRY_VERSION}: upgrade topicledger here",
                code="ledger-newer",
            )


def targets(store: Store) -> Iterator[str]:
    """The targets that have a log in a store; one listing each."""
    after = ""
    while names := store.names(LOGS, after):
        target = names[0].partition("/")[0]
        yield target
        after = f"{target}/~"  # behind all that is in it


class _Versioned(msgspec.Struct):
    version: int


def _name(sequence: int) -> str:
    return f"{sequence:020d}.json"


def _encoded(entry: LogEntry) -> bytes:
    return msgspec.json.encode(entry)


def _writer() -> str:
    return secrets.token_hex(8)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
