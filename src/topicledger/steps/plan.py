"""Steps 3 to 7 of the protocol: what a run reads, fixed before the first record, from topic, ledger and receipt."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Mapping, Sequence

import msgspec

from topicledger.crash_points import crash_point
from topicledger.errors import RetriableError, SettingsError
from topicledger.kafka.topic import TopicObserver
from topicledger.model import planning
from topicledger.model.acceptance import Accepted, Loss
from topicledger.model.identity import acceptance_id
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Acceptance
from topicledger.model.plan import OffsetRange, Plan, Position, Receipt
from topicledger.retries import with_retries
from topicledger.steps.run import Run, group_id
from topicledger.warehouse.contract import Compared, Warehouse

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.2


class Planner:
    """Plans one attempt of one run, and begins the books when what it planned was judged.

    What it writes to the ledger it writes in transactions of their own.

    Args:
        run: The run.
        observer: Asks the broker about the topic.
        warehouse: Holds the ledger.
        receipt: What the run produced, or None.
        accepted: The losses that a person accepts.
    """

    def __init__(
        self, run: Run, observer: TopicObserver, warehouse: Warehouse, receipt: Receipt | None, accepted: Accepted
    ) -> None:
        self._observer = observer
        self._warehouse = warehouse
        self._run = run
        self._pipeline = run.pipeline
        self._receipt = receipt
        self._accepted = accepted
        self._compared = Compared(there=False)
        self._added: Sequence[Position] = ()
        self._recorded: list[str] = []

    def plan(self) -> Plan:
        """Plan anew. Killed at any point and repeated, it gives what the topic and the ledger then say.

        Of the warehouse nothing is created, and nothing is written but an accepted truncation.

        Raises:
            IntegrityError: Offsets were lost or the topic was recreated, and nobody accepted exactly that, or a table
                isn't as declared.
            RetriableError: Broker or warehouse don't answer, or an open transaction hides records of this run.
            SettingsError: The topic is missing, or a grant is, also one to create the tables that are missing.
        """
        self._require_tables()
        # 3
        state = with_retries(f"connecting for {self._pipeline.topic}", self._observer.state)
        known = self._known()
        recreated = planning.check_topic_id(state, known, self._receipt, self._accepted)
        crash_point("step-03.topic_id_checked")
        state = self._stable(state)
        # 4
        self._recorded = [f"topic_id:{state.topic_id}"] if recreated else []
        if not known:
            self._recorded += self._renamed()
        self._added = planning.missing_positions(state, known, self._receipt, self._pipeline.origin)
        crash_point("step-04.positions_read")
        positions = planning.current_positions(state, [*known, *self._added], self._receipt)
        # 5
        truncations = self._truncations(state, positions)
        crash_point("step-05.truncations_looked_for")
        gaps = planning.find_gaps(state, positions)
        self._require_accepted(state, [*(loss for loss, _ in truncations), *gaps], positions)
        if truncations:
            self._set_back(positions, truncations)
            return self.plan()
        crash_point("step-06.losses_accepted")
        # 6 and 7
        accepted = [*self._recorded, *map(str, gaps)]
        return planning.make_plan(
            state, positions, target=self._warehouse.target, accepted=accepted, max_records=self._pipeline.max_records
        )

    def begin_books(self) -> tuple[str, ...]:
        """Step 4, once the planned batch was judged: create or alter tables, and write where new books begin.

        It does nothing where the tables are as declared and the ledger has a position of every planned partition, and a
        repeat changes nothing. A kill leaves tables, or tables and positions: planned again, it starts from what is
        there.

        Returns:
            How the rows table was altered.

        Raises:
            RetriableError: The warehouse doesn't answer, the table that has to be altered is held by others, or another
                run began the books elsewhere meanwhile.
            SettingsError: A grant is missing.
        """
        added, recorded = self._added, self._recorded
        if not added and self._compared.as_declared:
            return ()
        altered = with_retries("preparing the tables", self._warehouse.ensure_tables)
        crash_point("step-04.tables_there")
        if added:
            row = self._acceptance(added[0].topic_id, recorded) if recorded else None
            with_retries("adding positions", lambda: self._warehouse.add_positions(added, row))
            planning.require_begun(added, self._known())
            crash_point("step-04.books_begun")
        return tuple(altered)

    def _require_tables(self) -> None:
        """Refuse tables that aren't as declared, and up front what creating them would be refused after the read."""
        self._compared = with_retries("comparing the tables", self._warehouse.compare_tables)
        if self._compared.there:
            return
        problems = with_retries("asking for grants", self._warehouse.access).problems
        if problems:
            raise SettingsError(
                f"{self._warehouse.target} can't be created: {'; '.join(problems)}", code="target-not-creatable"
            )

    def _require_accepted(
        self, state: planning.TopicState, losses: Sequence[Loss], positions: Mapping[int, Position]
    ) -> None:
        if ignored := planning.require_accepted(state, losses, positions, self._accepted):
            log.warning("accept: %s lies at or below the ledger's position already: ignored", ", ".join(ignored))

    def _known(self) -> Sequence[Position]:
        return with_retries("reading the ledger", lambda: self._warehouse.positions(self._pipeline.topic))

    def _renamed(self) -> list[str]:
        name, topic = self._pipeline.name, self._pipeline.topic
        others = with_retries("reading the ledger", lambda: self._warehouse.other_targets(topic))
        return planning.check_target(name, topic, self._warehouse.target, others, self._accepted)

    def _truncations(
        self, state: planning.TopicState, positions: Mapping[int, Position]
    ) -> list[tuple[Loss, planning.Watermarks]]:
        """Step 5: also the accepted ones of logs that have grown past the position again: only the epoch shows them."""
        found = planning.find_truncations(state, positions, self._receipt)
        for loss in self._accepted.losses:
            marks = next((m for m in state.partitions if m.partition == loss.partition), None)
            position = positions.get(loss.partition)
            if loss.kind != "truncated" or marks is None or position is None or position.leader_epoch is None:
                continue
            if loss.end == position.position <= marks.high:
                end = self._truncated_at(position)
                if end is not None:
                    # The epoch at the log's end isn't that of the place where it was cut.
                    unknown = msgspec.structs.replace(marks, high_epoch=None)
                    found.append((Loss("truncated", loss.partition, end, loss.end), unknown))
        return found

    def _truncated_at(self, position: Position) -> int | None:
        group = group_id(self._run)
        return with_retries("looking for a truncation", lambda: self._observer.truncated_at(position, group))

    def _set_back(
        self, positions: Mapping[int, Position], truncations: Sequence[tuple[Loss, planning.Watermarks]]
    ) -> None:
        for loss, marks in truncations:
            before = positions[loss.partition]
            after = planning.set_back(before, loss, marks)
            applied = (planning.set_back_range(before, loss),)
            row = self._acceptance(before.topic_id, [str(loss)], applied, before.generation)
            if with_retries("setting the position back", functools.partial(self._set_back_once, before, after, row)):
                log.warning("accepted on record: %s; the position was set back", loss)
            crash_point("step-05.set_back")

    def _set_back_once(self, before: Position, after: Position, row: LedgerRow) -> bool:
        """Whether it was this call: where the answer to an earlier one was lost, the ledger tells what became of it."""
        there = before in self._warehouse.positions(before.topic)
        if there:
            self._warehouse.set_back(before, after, row)
        return there

    def _stable(self, state: planning.TopicState) -> planning.TopicState:
        """Step 5: wait, for a bounded time, until no open transaction hides what this run must read."""
        topic, wait_s = self._pipeline.topic, self._pipeline.transaction_wait_s
        deadline = time.monotonic() + wait_s
        first = {marks.partition: marks.last_stable for marks in state.partitions}
        while hidden := planning.unstable(state, self._receipt):
            if self._receipt is None and all(m.last_stable > first.get(m.partition, -1) for m in hidden):
                return state  # transactions come and go: what is stable now is read, the rest next time
            if time.monotonic() >= deadline:
                named = ", ".join(f"{m.partition}: {m.last_stable} < {m.high}" for m in hidden)
                raise RetriableError(
                    f"topic {topic}: an open transaction hides records; for {wait_s:.0f} s the last stable offset "
                    f"stayed below the high watermark in partition {named}. Find the producer whose transaction is "
                    "open (kafka-transactions.sh find-hanging), and end it",
                    code="transaction-open",
                    topic=topic,
                    partition=hidden[0].partition,
                    offset=hidden[0].last_stable,
                )
            time.sleep(_LOOK_AGAIN_S)
            state = with_retries(f"waiting for {topic}", self._observer.state)
        return state

    def _acceptance(
        self, topic_id: str, accepted: Sequence[str], applied: tuple[OffsetRange, ...] = (), generation: int = 0
    ) -> LedgerRow:
        target, run = self._warehouse.target, self._run
        return LedgerRow(
            batch_id=run.batch_id,
            plan_id=acceptance_id(target, topic_id, [*accepted, f"generation:{generation}"]),
            pipeline=self._pipeline.name,
            target=target,
            run_id=run.run_id,
            topic=self._pipeline.topic,
            topic_id=topic_id,
            planned=(),
            applied=applied,
            manifest=Acceptance(run.batch_id, run.run_id, tuple(accepted)),
            receipt=None,
            accounts=None,
            sha256="",
        )
