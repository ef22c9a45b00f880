"""Steps 8 to 10 of the protocol: reading exactly the planned offsets, and nothing else.

The reader assigns, never subscribes, and ends by position, never by silence: a partition is done when its
position has reached the planned end, whether by a record, by a record past the end, or by the partition's EOF.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import methodcaller
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, Message, TopicPartition

from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.client import consumer_client
from topicledger.kafka.failures import ErrorMemory, translate, translated
from topicledger.kafka.jumps import JumpReader
from topicledger.kafka.offsets import commit_offsets
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.manifest import LeaderEpoch, StagedPartition
from topicledger.model.plan import OffsetRange, Plan, PlannedRange, Receipt
from topicledger.model.records import Chunk

log = logging.getLogger(__name__)

ATTEMPT_HEADER = "topicledger-attempt"
BATCH_HEADER = "topicledger-batch"

_CHUNK_RECORDS = 10_000
_CHUNK_BYTES = 8 << 20
_FETCH_RECORDS = 256
_WAIT_S = 0.5
_PROGRESS_S = 5.0
_CHECKED_JUMPS = 1_000


class _Partition:
    """How far one partition was read."""

    def __init__(self, planned: PlannedRange) -> None:
        self.planned = planned
        self.next = planned.read_from
        self.records = 0
        self.invisible = 0
        self.epoch: int | None = None
        self.epochs: list[LeaderEpoch] = []
        self.end_epoch: int | None = None
        self.done = planned.read_from >= planned.end

    def staged(self) -> StagedPartition:
        plan = self.planned
        return StagedPartition(
            partition=plan.partition,
            start=plan.start,
            end=plan.end,
            generation=plan.generation,
            start_epoch=plan.leader_epoch,
            end_epoch=self.end_epoch,
            epochs=tuple(self.epochs),
            gap=min(plan.gap, plan.end - plan.start),
            records=self.records,
            invisible=self.invisible,
        )


class RangeReader:
    """Reads one plan, once. A context manager that closes its consumer.

    Args:
        settings: The connection.
        plan: What to read.
        group_id: The run's own consumer group: for its committed offsets only, membership is never used.
        receipt: What the run produced, when the plan contains all of it; its records are then counted.
        idle_s: Without any progress for so long, the read fails.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        plan: Plan,
        group_id: str,
        receipt: Receipt | None = None,
        idle_s: float = 60.0,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._group_id = group_id
        self._idle_s = idle_s
        self._attempt = receipt.attempt.encode() if receipt else None
        self._memory = ErrorMemory()
        self._consumer = consumer_client(settings, group_id, self._memory)
        self._partitions = {r.partition: _Partition(r) for r in plan.ranges}
        self._jumps: list[OffsetRange] = []
        self._longest: list[tuple[int, int, int]] = []
        self._jump_count = 0
        self._seen = 0
        self._fetch = 16

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    @property
    def acked_seen(self) -> int | None:
        """Records read that carry the receipt's attempt, or None when there is no receipt to compare with."""
        return self._seen if self._attempt is not None else None

    def partitions(self) -> tuple[StagedPartition, ...]:
        """How every partition was read; complete once `chunks` is exhausted."""
        return tuple(partition.staged() for partition in self._partitions.values())

    def chunks(self) -> Iterator[Chunk]:
        """Steps 8 and 9: read every planned record. Ends at once when the last position is reached.

        Raises:
            RetriableError: An offset went out of range during the read, or nothing came for `idle_s`.
            IntegrityError: The log was truncated below the ledger's position.
            SettingsError: A grant is missing or the credentials are wrong.
        """
        self._assign()
        started = said = time.monotonic()
        while not self._all_done():
            messages = self._collect()
            chunk = self._chunk(messages)
            yield chunk
            if time.monotonic() - said > _PROGRESS_S:
                said = time.monotonic()
                self._say_progress(said - started)
        if self._jumps:
            yield self._chunk([])
        self._say_progress(time.monotonic() - started)

    def check_jumps(self) -> int:
        """Step 10: read the longest jumps again with a fresh consumer.

        Returns:
            How many jumps were left unchecked.

        Raises:
            IntegrityError: A record lies where the reader saw none.
            RetriableError: The broker didn't answer.
        """
        jumps = [OffsetRange(p, start, start + length) for length, p, start in sorted(self._longest, reverse=True)]
        if jumps:
            with JumpReader(self._settings, self._plan.topic, self._group_id, self._idle_s) as again:
                again.require_empty(jumps)
        return self._jump_count - len(jumps)

    def commit(self) -> None:
        """Step 12: commit the run's group through the plan's end, synchronously."""
        commit_offsets(
            self._consumer, self._settings, self._plan.topic, {r.partition: r.end for r in self._plan.ranges}
        )

    def _assign(self) -> None:
        wanted = []
        for state in self._partitions.values():
            if state.done:
                continue
            plan = state.planned
            # The ledger's epoch belongs to its position; behind an accepted gap it says nothing.
            epoch = plan.leader_epoch if plan.read_from == plan.start else None
            extra = {} if epoch is None else {"leader_epoch": epoch}
            wanted.append(TopicPartition(self._plan.topic, plan.partition, plan.read_from, **extra))
        with translated(f"assigning {self._plan.topic}", self._settings, self._memory, topic=self._plan.topic):
            self._consumer.assign(wanted)

    def _all_done(self) -> bool:
        return all(state.done for state in self._partitions.values())

    def _collect(self) -> list[Message]:
        """Gather messages up to a chunk's bounds: what is there now, and only if that is nothing, wait."""
        collected: list[Message] = []
        size, idle_since = 0, time.monotonic()
        while len(collected) < _CHUNK_RECORDS and size < _CHUNK_BYTES:
            batch = self._consumer.consume(self._fetch, 0)
            if not batch:
                if collected:
                    break
                message = self._consumer.poll(_WAIT_S)
                if message is None:
                    self._require_progress(idle_since)
                    continue
                batch = [message]
            collected.extend(batch)
            fetched = sum(map(len, batch))
            size += fetched
            # Few large records, many small ones: what one call may bring stays bounded in bytes.
            self._fetch = max(1, min(_FETCH_RECORDS, 2 * self._fetch, (_CHUNK_BYTES * len(batch)) // (fetched + 1)))
        return collected

    def _require_progress(self, idle_since: float) -> None:
        if self._memory.credentials is not None:
            error = self._memory.credentials
            raise translate(error, "reading", self._settings, self._memory, topic=self._plan.topic)
        if time.monotonic() - idle_since < self._idle_s:
            return
        behind = [s for s in self._partitions.values() if not s.done]
        where = "; ".join(f"partition {s.planned.partition} at {s.next}, ends at {s.planned.end}" for s in behind)
        last = f" The client's last error: {self._memory.last.str()}." if self._memory.last else ""
        raise RetriableError(
            f"reading {self._plan.topic} at {self._settings.servers}: nothing came for {self._idle_s:.0f} s before the "
            f"planned end: {where}.{last} The task's next try plans and reads again",
            topic=self._plan.topic,
            partition=behind[0].planned.partition,
            offset=behind[0].next,
        )

    def _chunk(self, messages: Sequence[Message]) -> Chunk:
        records = messages
        if any(map(_ERROR, messages)):
            records = [message for message in messages if message.error() is None]
            kept = self._take(records)
            self._take_events(message for message in messages if message.error() is not None)
        else:
            kept = self._take(records)
        jumps, self._jumps = self._jumps, []
        timestamps = map(_TIMESTAMP, kept)
        return Chunk(
            partitions=list(map(_PARTITION, kept)),
            offsets=list(map(_OFFSET, kept)),
            timestamps_ms=[ms if kind else None for kind, ms in timestamps],
            values=list(map(_VALUE, kept)),
            key=lambda index: kept[index].key(),
            headers=lambda index: kept[index].headers() or [],
            jumps=jumps,
        )

    def _take(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Account for the records, run by run of one partition; give back those inside the plan."""
        kept: list[Message] = []
        for partition, run in _runs(messages):
            state = self._partitions[partition]
            first, last = run[0].offset(), run[-1].offset()
            contiguous = first == state.next and last - first == len(run) - 1 and last < state.planned.end
            inside = run if contiguous and not state.done else self._walk(state, run)
            if contiguous and not state.done:
                state.records += len(run)
                state.next = last + 1
            if inside:
                self._note_epochs(state, inside)
                if self._attempt is not None:
                    self._seen += sum(map(self._is_ours, inside))
                kept.extend(inside)
            if state.next >= state.planned.end and not state.done:
                self._finish(state)
        return kept

    def _walk(self, state: _Partition, run: Sequence[Message]) -> list[Message]:
        """The careful way: records with jumps between them, or past the plan's end."""
        inside: list[Message] = []
        for message in run:
            offset = message.offset()
            if state.done or offset < state.next:
                continue
            self._jump(state, min(offset, state.planned.end))
            if offset >= state.planned.end:
                break
            inside.append(message)
            state.records += 1
            state.next = offset + 1
        return inside

    def _take_events(self, events: Iterable[Message]) -> None:
        for event in events:
            error, state = event.error(), self._partitions.get(event.partition())
            if error.code() == KafkaError._PARTITION_EOF and state is not None:  # noqa: SLF001
                if not state.done and event.offset() >= state.planned.end:
                    self._jump(state, state.planned.end)
                    self._finish(state)
            else:
                self._fail(error, event)

    def _fail(self, error: KafkaError, event: Message) -> None:
        partition, offset = event.partition(), event.offset()
        topic = self._plan.topic
        where: dict[str, Any] = {"topic": topic, "partition": partition, "offset": offset}
        if error.code() == KafkaError._LOG_TRUNCATION:  # noqa: SLF001
            raise IntegrityError(
                f"partition {partition} of {topic} was truncated below the ledger's position and has grown again: "
                f"{error.str()}. Records that were loaded are no longer on the topic, and others took their offsets. "
                "Compare the warehouse with the topic before you go on",
                **where,
            )
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
            raise RetriableError(
                f"partition {partition} of {topic}: offset {offset} went out of range while it was read: {error.str()}. "
                "The task's next try plans again and names what is gone",
                **where,
            )
        raise translate(error, f"reading {topic}", self._settings, self._memory, **where)

    def _jump(self, state: _Partition, until: int) -> None:
        length = until - state.next
        if length <= 0:
            return
        partition = state.planned.partition
        self._jumps.append(OffsetRange(partition, state.next, until))
        self._jump_count += 1
        entry = (length, partition, state.next)
        if len(self._longest) < _CHECKED_JUMPS:
            heapq.heappush(self._longest, entry)
        else:
            heapq.heappushpop(self._longest, entry)
        state.invisible += length
        state.next = until

    def _finish(self, state: _Partition) -> None:
        """Remember the position's own leader epoch: a marker behind the last record may have a later one."""
        state.done = True
        partition = TopicPartition(self._plan.topic, state.planned.partition)
        with translated("asking for the position", self._settings, self._memory, topic=self._plan.topic):
            [position] = self._consumer.position([partition])
            self._consumer.pause([partition])
        known = position.leader_epoch
        state.end_epoch = known if known is not None and known >= 0 else state.epoch

    def _note_epochs(self, state: _Partition, run: Sequence[Message]) -> None:
        if run[0].leader_epoch() == state.epoch == run[-1].leader_epoch():
            return
        for message in run:
            epoch = message.leader_epoch()
            if epoch is not None and epoch >= 0 and epoch != state.epoch:
                state.epoch = epoch
                state.epochs.append(LeaderEpoch(message.offset(), epoch))

    def _is_ours(self, message: Message) -> bool:
        headers = message.headers()
        return headers is not None and (ATTEMPT_HEADER, self._attempt) in headers

    def _say_progress(self, elapsed_s: float) -> None:
        states = self._partitions.values()
        records = sum(state.records for state in states)
        remaining = sum(max(0, state.planned.end - state.next) for state in states)
        log.info(
            "read %d records, %.0f/s, %d offsets remaining; positions %s",
            records,
            records / elapsed_s if elapsed_s > 0 else 0,
            remaining,
            {state.planned.partition: state.next for state in states},
        )


def _runs(messages: Sequence[Message]) -> Iterator[tuple[int, Sequence[Message]]]:
    """Split into runs of one partition; a fetch brings records partition by partition, so runs are long."""
    start = 0
    partitions = list(map(_PARTITION, messages))
    while start < len(partitions):
        partition, end = partitions[start], start + 1
        while end < len(partitions) and partitions[end] == partition:
            end += 1
        yield partition, messages[start:end]
        start = end


_ERROR: Callable[[Message], Any] = methodcaller("error")
_PARTITION: Callable[[Message], int] = methodcaller("partition")
_OFFSET: Callable[[Message], int] = methodcaller("offset")
_TIMESTAMP: Callable[[Message], tuple[int, int]] = methodcaller("timestamp")
_VALUE: Callable[[Message], bytes | None] = methodcaller("value")
