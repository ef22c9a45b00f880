"""Which record a rule of the table's own refuses: a constraint, a CHECK or a trigger that somebody added.

A database names the rule and at most the record's values, never where the record came from. So parts of the batch are
inserted once more, in a transaction that is rolled back whatever is found, until one record is left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from topicledger.errors import IntegrityError, TopicLedgerError
from topicledger.model.manifest import Manifest
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.sql.session import Session
from topicledger.warehouse.sql.staged_tables import StagedSql, between

log = logging.getLogger(__name__)

SEARCH_S = 60.0
"""How long it is searched; the part that was begun by then is finished."""


class RefusedRecord:
    """The search for one load: of the records before an offset all are taken, or one is refused.

    With savepoints what was taken stays, so all parts together are at most one more insert of the batch.

    Args:
        session: In a load's transaction, its savepoint before the inserts.
        staged: What is inserted.
        manifest: The batch.
        applied: What of its plan is inserted.
        before: What must be done again where the transaction was begun anew.
    """

    def __init__(
        self,
        session: Session,
        staged: StagedSql,
        manifest: Manifest,
        applied: Sequence[OffsetRange],
        before: Sequence[str],
    ) -> None:
        self._session = session
        self._staged = staged
        self._manifest = manifest
        self._ranges = sorted((r for r in applied if r.length), key=lambda r: r.partition)
        self._before = before

    def located(self, refused: IntegrityError, ready: Callable[[], None] = lambda: None) -> IntegrityError:
        """The refusal of the first record that is refused, with its coordinates, as far as they were found.

        Whatever goes wrong here, the first refusal is given as it was.

        Args:
            refused: Why the load ends.
            ready: Called once, before anything is inserted again.
        """
        log.info("looking for the first record that is refused, for up to %.0f s", SEARCH_S)
        with suppress(TopicLedgerError):
            self._session.undo()
            ready()
            self._session.savepoint()
            # What refuses when nothing is inserted isn't about a record.
            self._insert(0, 0)
            return self._searched() or refused
        return refused

    def _searched(self) -> IntegrityError | None:
        deadline = time.monotonic() + SEARCH_S
        low, high = 0, sum(r.length for r in self._ranges)
        found: IntegrityError | None = None
        with suppress(TopicLedgerError):
            while low < high and (found is None or high - low > 1) and time.monotonic() < deadline:
                middle = (low + high + 1) // 2
                try:
                    self._insert(low, middle)
                except IntegrityError as refused:
                    found, high = refused, middle
                else:
                    low = middle
                    self._session.savepoint()
        return found and self._named(found, low, high)

    def _insert(self, low: int, high: int) -> None:
        """Insert what is new before `high`, when what is before `low` is there or can't be kept."""
        if not self._session.undo():
            low = 0
            for statement in self._before:
                self._session.execute(statement)
        part = between(self._place(low), self._place(high))
        own = (self._manifest.batch_id, self._manifest.topic_id)
        self._session.execute(self._staged.insert_rows(part), own)
        self._session.execute(self._staged.insert_dead_letters(part), own)

    def _place(self, number: int) -> tuple[int, int]:
        """Partition and offset of the so many-th offset that is applied, or what comes after the last one."""
        for r in self._ranges:
            if number < r.length:
                return r.partition, r.start + number
            number -= r.length
        last = self._ranges[-1]
        return last.partition, last.end

    def _named(self, refused: IntegrityError, low: int, high: int) -> IntegrityError:
        (partition, offset), (last_partition, last_offset) = self._place(low), self._place(high - 1)
        among = "" if high - low == 1 else f", or one up to partition {last_partition}, offset {last_offset},"
        return IntegrityError(
            f"the record at partition {partition}, offset {offset} of {self._manifest.topic}{among} is the first one "
            f"that the warehouse refuses: {refused.message}",
            code="rule-refuses-record",
            repeat=refused.repeat,
            topic=self._manifest.topic,
            partition=partition,
            offset=offset,
            batch_id=self._manifest.batch_id,
        )
