"""Steps 8 and 9 of the protocol: reading exactly the planned offsets, and nothing else.

The reader assigns, never subscribes, and ends by position, never by silence: a partition is done when its
position has reached the planned end, whether by a record, by a record past the end, or by the partition's EOF.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, repeat
from types import TracebackType
from typing import Any, Self, cast

from confluent_kafka import KafkaError, Message, TopicPartition

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.failures import ErrorMemory, translate, translated
from topicledger.kafka.fetching import FETCH_BYTES, Fetcher, ReadAgainError
from topicledger.kafka.message import ATTEMPT_HEADER, ConsumedMessage
from topicledger.kafka.progress import Jumps, PartitionProgress
from topicledger.kafka.settings import KafkaSettings
from topicledger.kafka.truncation import is_truncation, truncation_end
from topicledger.model.plan import Plan, Receipt
from topicledger.model.records import Chunk, Headers
from topicledger.model.slices import Reading
from topicledger.model.tally import Tally

log = logging.getLogger(__name__)

_CHUNK_RECORDS = 10_000
_WAIT_S = 0.5
_OUT_OF_RANGE = (KafkaError._LOG_TRUNCATION, KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001
_PROGRESS_S = 5.0
_NO_TIMESTAMP = -1  # what the log has when the producer gave none; librdkafka passes it on as a time


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
        self._ours = (ATTEMPT_HEADER, receipt.attempt.encode()) if receipt else None
        self._memory = ErrorMemory()
        self._fetcher = Fetcher(settings, plan.topic, group_id, self._memory)
        self._jumps = Jumps()
        self._progress = {r.partition: PartitionProgress(r, self._jumps) for r in plan.ranges}
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fetcher.close()

    def reading(self, tally: Tally) -> Reading:
        """What was read; complete once `chunks` is exhausted.

        Args:
            tally: What became of the records.
        """
        return Reading(
            partitions=tuple(progress.staged() for progress in self._progress.values()),
            jumps=tuple(self._jumps.longest()),
            jump_count=self._jumps.count,
            acked_seen=self._seen if self._ours is not None else None,
            tally=tally,
        )

    def chunks(self) -> Iterator[Chunk]:
        """Steps 8 and 9: read every planned record. Ends at once when the last position is reached.

        Raises:
            RetriableError: An offset went out of range during the read, or nothing came for `idle_s`.
            IntegrityError: The log was truncated below the ledger's position.
            SettingsError: A grant is missing or the credentials are wrong.
        """
        self._assign()
        started = said = time.monotonic()
        while not all(progress.done for progress in self._progress.values()):
            try:
                messages = self._collect()
            except ReadAgainError:
                self._assign()
                continue
            yield self._chunk(messages)
            if time.monotonic() - said > _PROGRESS_S:
                said = time.monotonic()
                self._say_progress(said - started)
        self._say_progress(time.monotonic() - started)

    def _assign(self) -> None:
        wanted = []
        for progress in self._progress.values():
            if not progress.done:
                known = progress.next_epoch
                epoch: dict[str, Any] = {} if known is None else {"leader_epoch": known}
                wanted.append(TopicPartition(self._plan.topic, progress.planned.partition, progress.next, **epoch))
        with translated(f"assigning {self._plan.topic}", self._settings, self._memory, topic=self._plan.topic):
            self._fetcher.consumer.assign(wanted)
        crash_point("step-08.assigned")

    def _collect(self) -> list[ConsumedMessage]:
        """Gather messages up to a chunk's bounds: what is there now, and only if that is nothing, wait."""
        collected: list[ConsumedMessage] = []
        size_bytes, idle_since = 0, time.monotonic()
        while len(collected) < _CHUNK_RECORDS and size_bytes < FETCH_BYTES:
            batch, fetched_bytes = self._fetcher.fetch(0 if collected else _WAIT_S)
            if not batch:
                if collected:
                    break
                self._require_progress(idle_since)
            collected.extend(batch)
            size_bytes += fetched_bytes
        return collected

    def _require_progress(self, idle_since: float) -> None:
        topic = self._plan.topic
        if self._memory.credentials is not None:
            raise translate(self._memory.credentials, f"reading {topic}", self._settings, self._memory, topic=topic)
        if time.monotonic() - idle_since < self._idle_s:
            return
        behind = [progress for progress in self._progress.values() if not progress.done]
        where = "; ".join(f"partition {p.planned.partition} at {p.next}, ends at {p.planned.end}" for p in behind)
        last = f" The client's last error: {self._memory.last.str()}." if self._memory.last else ""
        raise RetriableError(
            f"reading {topic} at {self._settings.servers}: nothing came for {self._idle_s:.0f} s before the planned "
            f"end: {where}.{last} Nothing was staged; see that the brokers run and each partition has a leader",
            code="reading-stalled",
            topic=topic,
            partition=behind[0].planned.partition,
            offset=behind[0].next,
        )

    def _chunk(self, messages: Sequence[ConsumedMessage]) -> Chunk:
        records, events = messages, []
        if any(map(_ERROR, messages)):
            records = [message for message in messages if message.error() is None]
            events = [message for message in messages if message.error() is not None]
        partitions, kept = self._take(records)
        for event in events:
            self._take_event(event)
        return Chunk(
            partitions=partitions,
            offsets=list(map(_OFFSET, kept)),
            timestamps_ms=[ms if kind and ms != _NO_TIMESTAMP else None for kind, ms in map(_TIMESTAMP, kept)],
            values=list(map(_VALUE, kept)),
            key=lambda index: kept[index].key(),
            headers=lambda index: kept[index].headers() or [],
            jumps=self._jumps.take(),
        )

    def _take(self, records: Sequence[ConsumedMessage]) -> tuple[list[int], list[ConsumedMessage]]:
        partitions: list[int] = []
        kept: list[ConsumedMessage] = []
        for partition, run in _runs(records):
            progress = self._progress[partition]
            inside = progress.take(run)
            if self._ours is not None:
                self._seen += sum(self._ours in headers for headers in map(_HEADERS, inside) if headers)
            partitions.extend(repeat(partition, len(inside)))
            kept.extend(inside)
            if progress.reached_end and not progress.done:
                self._finish(progress)
        return partitions, kept

    def _take_event(self, event: ConsumedMessage) -> None:
        error = event.error()
        assert error is not None  # noqa: S101 - the caller sorted the events out; this is for the type checker
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's local codes
            raise self._failure(error, event)
        progress = self._progress[event.partition()]
        if not progress.done and event.offset() >= progress.planned.end:
            progress.reach_end()
            self._finish(progress)

    def _failure(self, error: KafkaError, event: ConsumedMessage) -> Exception:
        topic, partition = self._plan.topic, event.partition()
        progress = self._progress.get(partition)
        offset = progress.next if progress else event.offset()
        where: dict[str, Any] = {"topic": topic, "partition": partition, "offset": offset}
        if is_truncation(error) and (progress is None or offset == progress.planned.start):
            end = truncation_end(error)
            entry = f"truncated:{partition}:{offset if end is None else end}:{offset}"
            return IntegrityError(
                f"partition {partition} of {topic} was truncated below the ledger's position and has grown again: "
                f"{error.str()}. Records that were loaded are no longer on the topic, and others took their offsets. "
                "Compare the warehouse with the topic; then, to load what is there now on record, trigger the DAG with "
                f'{{"accept": ["{entry}"]}}',
                code="topic-truncated-and-regrown",
                **where,
            )
        # Cut while it was read: nothing is staged yet, and a repeat starts from the ledger's position.
        if error.code() in _OUT_OF_RANGE:
            return RetriableError(
                f"partition {partition} of {topic}: offset {offset} went out of range while it was read: "
                f"{error.str()}. Nothing was staged; planning again names what is gone",
                code="offset-out-of-range",
                **where,
            )
        return translate(error, f"reading {topic}", self._settings, self._memory, **where)

    def _finish(self, progress: PartitionProgress) -> None:
        partition = TopicPartition(self._plan.topic, progress.planned.partition)
        with translated("asking for the position", self._settings, self._memory, topic=self._plan.topic):
            [position] = self._fetcher.consumer.position([partition])
            self._fetcher.consumer.pause([partition])
        known: int | None = position.leader_epoch
        progress.finish(known if known is not None and known >= 0 else None)

    def _say_progress(self, elapsed_s: float) -> None:
        records = sum(progress.records for progress in self._progress.values())
        log.info(
            "read %d records, %.0f/s, %d offsets remaining; positions %s",
            records,
            records / elapsed_s if elapsed_s > 0 else 0,
            sum(progress.remaining for progress in self._progress.values()),
            {partition: progress.next for partition, progress in self._progress.items()},
        )


def _runs(messages: Sequence[ConsumedMessage]) -> Iterator[tuple[int, Sequence[ConsumedMessage]]]:
    """Split into runs of one partition; a fetch brings records partition by partition, so runs are long."""
    start = 0
    for partition, run in groupby(map(_PARTITION, messages)):
        end = start + len(list(run))
        yield partition, messages[start:end]
        start = end


# The class's own functions, mapped: called for every record, a quarter of what a `methodcaller` takes.
_ERROR = cast("Callable[[ConsumedMessage], KafkaError | None]", Message.error)
_PARTITION = cast("Callable[[ConsumedMessage], int]", Message.partition)
_OFFSET = cast("Callable[[ConsumedMessage], int]", Message.offset)
_TIMESTAMP = cast("Callable[[ConsumedMessage], tuple[int, int]]", Message.timestamp)
_VALUE = cast("Callable[[ConsumedMessage], bytes | None]", Message.value)
_HEADERS = cast("Callable[[ConsumedMessage], Headers | None]", Message.headers)
