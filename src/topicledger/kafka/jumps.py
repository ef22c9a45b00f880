"""Step 10 of the protocol: reading jumps again, to prove that the first read lost no record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, cast

from confluent_kafka import KafkaError, TopicPartition

from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.client import consumer_client
from topicledger.kafka.failures import ErrorMemory, translate
from topicledger.kafka.message import ConsumedMessage
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.plan import OffsetRange
from topicledger.model.slices import Reading

_WAIT_S = 0.5
_IDLE_S = 60.0


def check_jumps(settings: KafkaSettings, topic: str, group_id: str, reading: Reading) -> int:
    """Step 10: read the longest jumps again with a fresh consumer.

    Args:
        settings: The connection.
        topic: The topic.
        group_id: The run's own consumer group.
        reading: The whole read.

    Returns:
        How many jumps were left unchecked.

    Raises:
        IntegrityError: A record lies where the reader saw none.
        RetriableError: The broker didn't answer.
    """
    if reading.jumps:
        with JumpReader(settings, topic, group_id, _IDLE_S) as again:
            again.require_empty(reading.jumps)
    return reading.jump_count - len(reading.jumps)


class JumpReader:
    """Reads jumps again, one per partition at a time, to prove that there is no record in them."""

    def __init__(self, settings: KafkaSettings, topic: str, group_id: str, idle_s: float) -> None:
        self._settings = settings
        self._topic = topic
        self._idle_s = idle_s
        self._memory = ErrorMemory()
        # Small fetches: of most jumps nothing is needed but the news that nothing is there.
        self._consumer = consumer_client(
            settings,
            group_id,
            self._memory,
            **{"max.partition.fetch.bytes": 65_536, "queued.min.messages": 1},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def require_empty(self, jumps: Sequence[OffsetRange]) -> None:
        """Read every jump again.

        Raises:
            IntegrityError: A record lies in a jump.
            RetriableError: The broker didn't answer.
        """
        waiting = list(jumps)
        while waiting:
            current: dict[int, OffsetRange] = {}
            later = []
            for jump in waiting:
                if jump.partition in current:
                    later.append(jump)
                else:
                    current[jump.partition] = jump
            self._consumer.assign([TopicPartition(self._topic, j.partition, j.start) for j in current.values()])
            self._drain(current)
            waiting = later

    def _drain(self, current: dict[int, OffsetRange]) -> None:
        progress = time.monotonic()
        while current:
            message = cast("ConsumedMessage | None", self._consumer.poll(_WAIT_S))
            if message is None:
                if time.monotonic() - progress > self._idle_s:
                    raise RetriableError(
                        f"reading the jumps {', '.join(map(str, current.values()))} of {self._topic} "
                        f"again: nothing came",
                        code="jumps-unanswered",
                        topic=self._topic,
                    )
                continue
            progress = time.monotonic()
            jump = current.get(message.partition())
            if jump is not None and self._passed(message, jump):
                del current[jump.partition]
                # Not paused: a paused partition stays so when it is assigned again, for its next jump.
                self._consumer.incremental_unassign([TopicPartition(self._topic, jump.partition)])

    def _passed(self, message: ConsumedMessage, jump: OffsetRange) -> bool:
        error, offset = message.error(), message.offset()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return offset >= jump.end
            raise translate(error, f"reading {jump} again", self._settings, self._memory, topic=self._topic)
        if offset < jump.end:
            raise IntegrityError(
                f"{jump} of {self._topic}: the first read found no record there, a second one found offset {offset}. "
                "The reader lost it: nothing was staged; keep the log and report it",
                code="record-lost-by-reader",
                repeat="consume",
                topic=self._topic,
                partition=jump.partition,
                offset=offset,
            )
        return True
